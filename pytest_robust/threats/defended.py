"""A Defended model and the surfaces it shows to an attacker, by threat model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import torch
from torch import Tensor

from pytest_robust.data.split import Split
from pytest_robust.errors import DefenseError, RobustError, SettingsError
from pytest_robust.models.classifier import Classifier
from pytest_robust.store.blame import told
from pytest_robust.threats.decision import Decision


class ThreatModel(StrEnum):
    """What the attacker sees.

    `WHITE_BOX` is the network that answers, as it is. Of a model with a detector (`mismatch`, `feature_squeezing`) that
    is the bare network, so that the attacker is blind to the detector; of one that votes over random passes
    (`dropout_ensemble`, `dropout_autoencoder`) it is one pass without dropout. Only `ADAPTIVE` has the whole defense in
    it; where both are one surface, nothing stands in the gradient's way.
    """

    TRANSFER = "transfer"  #: black box: a surrogate that the attacker trained apart
    GRAY_BOX = "gray_box"  #: the undefended base network
    WHITE_BOX = "white_box"  #: the network that answers, as it is; blind to a detector and to randomness
    ADAPTIVE = "adaptive"  #: the defended model, with the defense in the attacker's loss


@dataclass(frozen=True, eq=False, repr=False)
class Defended:
    """A defended model: what it decides, and what an attacker may differentiate.

    Args:
        name: the defense with the parameters that are not its defaults.
        num_classes: classes it can name (a dustbin is not one of them).
        decide_batch: from images (n, C, H, W) in [0, 1], on `device`, to a `Decision` of n.
        surfaces: differentiable classifiers by threat model, and by other names for what else an attacker may
            choose (one member of an ensemble); they may have more outputs than `num_classes`. The surrogate of
            `ThreatModel.TRANSFER` is the attacker's and not among them: ``bench.surface`` has it.
        device: where `decide_batch` wants its images.
        fingerprint: of everything the decisions depend on.
        networks: the trained networks inside, by role, for figures and for claims about their features.
        fitted_on: the images that a threshold was set on, where there is one; they must not be evaluated.
        random_by_image: it draws numbers that are a function of the image, so that whoever changes an image by next to
            nothing has them drawn anew; a cascade does (`Bench.worst_case`).
    """

    name: str
    num_classes: int
    decide_batch: Callable[[Tensor], Decision]
    surfaces: Mapping[str, Classifier]
    device: torch.device
    fingerprint: str
    networks: Mapping[str, Classifier] = field(default_factory=dict)
    fitted_on: Split | None = None
    random_by_image: bool = False

    def __repr__(self) -> str:
        """The name and what it shows to attackers."""
        return f"Defended({self.name}, surfaces: {', '.join(sorted(map(str, self.surfaces)))})"

    @torch.no_grad()
    def decide(self, x: Tensor, batch_size: int = 512) -> Decision:
        """Decisions on images `x`, float32 (N, C, H, W) in [0, 1], checked; tensors come back on `x`'s device.

        Raises:
            DefenseError: it answers no `Decision`, a field of it has a wrong shape or dtype, a score is NaN, a
                label is no class; or it fails, on images for example that its networks cannot take.
        """
        parts = []
        for batch in x.split(batch_size):
            decision = self._answer(batch)
            check_decision(decision, len(batch), self.num_classes, self.name)
            parts.append(
                Decision(decision.label.to(x.device), decision.rejected.to(x.device), decision.score.to(x.device))
            )
        if parts:
            return Decision.cat(parts)
        return Decision(torch.empty(0, dtype=torch.int64), torch.empty(0, dtype=torch.bool), torch.empty(0))

    def _answer(self, batch: Tensor) -> Decision:
        try:
            # A copy, because a defense may work in place, and the batch is a part of the test images.
            return self.decide_batch(batch.to(self.device, copy=True))
        except (torch.OutOfMemoryError, RobustError):
            raise
        except Exception as error:  # torch's of images that the networks were not made for, or the defense's own
            raise DefenseError(
                f"the defended model {self.name!r} failed on images of shape {tuple(batch.shape[1:])} (C, H, W): "
                f"{told(error)}."
            ) from error

    def surface(self, threat_model: ThreatModel | str) -> Classifier:
        """The classifier that an attacker differentiates under `threat_model`, or under another name it is offered by.

        Raises:
            SettingsError: this defense offers none for it.
        """
        try:
            return self.surfaces[str(threat_model)]
        except KeyError:
            offered = ", ".join(sorted(self.surfaces))
            raise SettingsError(
                f"the defense {self.name!r} has no surface for the threat model {str(threat_model)!r}; it offers: "
                f"{offered or 'none'}."
            ) from None


def answers_of(classifier: Classifier) -> Callable[[Tensor], Decision]:
    """From images (n, C, H, W) to the classifier's decisions: its largest logit, and never a rejection.

    The score is one minus the largest softmax probability (Hendrycks & Gimpel 2017, the usual baseline detector).
    """

    def decide(x: Tensor) -> Decision:
        logits = classifier.logits_of(x, len(x))
        score = 1 - logits.softmax(1).amax(1)
        return Decision(logits.argmax(1), torch.zeros(len(x), dtype=torch.bool, device=x.device), score)

    return decide


def network_alone(network: Classifier, name: str, *, base: Classifier | None = None) -> Defended:
    """A single network as the whole of a defended model; white box and adaptive attackers differentiate it as it is.

    Args:
        network: what answers.
        name: for people and reports.
        base: what a gray-box attacker has; None is the network itself, where nothing defends it.
    """
    return Defended(
        name=name,
        num_classes=network.num_classes,
        decide_batch=answers_of(network),
        surfaces={
            ThreatModel.GRAY_BOX: base or network,
            ThreatModel.WHITE_BOX: network,
            ThreatModel.ADAPTIVE: network,
        },
        device=network.device,
        fingerprint=network.fingerprint,
        networks={"network": network},
    )


def check_decision(decision: object, n: int, num_classes: int, name: str) -> None:
    """Raise DefenseError, naming the defense and the field, unless `decision` keeps the contract for n images."""
    if not isinstance(decision, Decision):
        raise DefenseError(
            f"the defense {name!r}: decide_batch must return a Decision, not {type(decision).__name__}: write "
            "Decision(label=..., rejected=..., score=...)."
        )
    for field_name, dtype in (("label", torch.int64), ("rejected", torch.bool), ("score", torch.float32)):
        value = getattr(decision, field_name)
        if not isinstance(value, Tensor):
            raise DefenseError(
                f"the defense {name!r}: decision.{field_name} must be a tensor, not {type(value).__name__}."
            )
        if tuple(value.shape) != (n,) or value.dtype != dtype:
            raise DefenseError(
                f"the defense {name!r}: decision.{field_name} must be {dtype} of shape ({n},), not {value.dtype} "
                f"of shape {tuple(value.shape)}."
            )
    if n and bool(torch.isnan(decision.score).any()):
        raise DefenseError(f"the defense {name!r}: decision.score holds NaN; give a number for every image.")
    if n and not (int(decision.label.min()) >= 0 and int(decision.label.max()) < num_classes):
        raise DefenseError(
            f"the defense {name!r}: decision.label must be in 0..{num_classes - 1}, but runs from "
            f"{int(decision.label.min())} to {int(decision.label.max())}; mark rejection in decision.rejected."
        )
