"""An Evaluation: what a defended model made of a set of images, per image, and the rates of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from pytest_robust.errors import SettingsError
from pytest_robust.evaluation.auroc import Auroc, auroc
from pytest_robust.evaluation.compare import PairedDifference, paired_difference
from pytest_robust.evaluation.detectors import Detection
from pytest_robust.evaluation.rate import Rate
from pytest_robust.threats.decision import Decision


@dataclass(frozen=True, eq=False, repr=False)
class Evaluation:
    """Decisions on N images with known labels.

    Args:
        defense: name of the defended model.
        y: true labels, int64 of shape (N,).
        decision: what the defended model answered.
        success: bool of shape (N,): the attack fooled its own surface; None for images nobody attacked.
        image: int64 of shape (N,): which original each entry was made from, where some share one; else None.
        norms: per-image sizes of the perturbation, by norm.
        settings: attack, parameters, surface, data, as plain data.
        checks: what is wrong with the evaluation itself, a sentence each; empty when nothing is.
        right: bool of shape (N,): the attacked surface answers the clean image with its label; None where nobody asked.
        wavering: share of the first images that are decided otherwise in batches of another size.
        drawing: share of the first images that are decided otherwise with other random numbers.
    """

    defense: str
    y: Tensor
    decision: Decision
    success: Tensor | None = None
    image: Tensor | None = None
    norms: dict[str, Tensor] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    checks: tuple[str, ...] = ()
    right: Tensor | None = None
    wavering: float = 0.0
    drawing: float = 0.0

    def __len__(self) -> int:
        return len(self.y)

    def __repr__(self) -> str:
        """What a failed assertion shows: the rates, and not the tensors behind them."""
        attack = self.settings.get("title")
        parts = [self.defense, *([str(attack)] if attack else []), f"accuracy {self.accuracy}"]
        if bool(self.decision.rejected.any()):
            parts.append(f"rejection {self.rejection}")
        return f"Evaluation({', '.join([*parts, *self.checks])})"

    @property
    def correct(self) -> Tensor:
        """Bool of shape (N,): answered with the true label."""
        return self.decision.correct(self.y)

    @property
    def wrong(self) -> Tensor:
        """Bool of shape (N,): answered with a wrong label."""
        return self.decision.wrong(self.y)

    @property
    def accuracy(self) -> Rate:
        """Acc: the share that it answers with the true label. On attacked images: robust accuracy."""
        return self._rate(self.correct)

    @property
    def rejection(self) -> Rate:
        """Rej: the share that it declines to answer."""
        return self._rate(self.decision.rejected)

    @property
    def error(self) -> Rate:
        """Err = 1 − (Acc + Rej): the share that it answers with a wrong label."""
        return self._rate(self.wrong)

    @property
    def success_rate(self) -> Rate | None:
        """Attack success rate on the attacker's own surface: of the images that it has right as they are.

        None for images nobody attacked.
        """
        return None if self.success is None else self._rate(self.success, self.right)

    @property
    def on_successes(self) -> Evaluation:
        """The same evaluation on only those images that fooled the attacker's surface."""
        if self.success is None:
            return self
        keep = self.success
        decision = Decision(self.decision.label[keep], self.decision.rejected[keep], self.decision.score[keep])
        return Evaluation(
            self.defense,
            self.y[keep],
            decision,
            self.success[keep],
            None if self.image is None else self.image[keep],
            {k: v[keep] for k, v in self.norms.items()},
            {**self.settings, "only_successes": True},
            self.checks,
            None if self.right is None else self.right[keep],
            self.wavering,
            self.drawing,
        )

    def error_minus(self, other: Evaluation) -> PairedDifference:
        """This error rate minus another's on the same images, paired; labels that differ raise SettingsError."""
        self._check_pairs(other)
        return paired_difference(self.wrong, other.wrong, self.image)

    def accuracy_minus(self, other: Evaluation) -> PairedDifference:
        """This accuracy minus another's on the same images, paired; labels that differ raise SettingsError."""
        self._check_pairs(other)
        return paired_difference(self.correct, other.correct, self.image)

    def auroc_against(self, clean: Evaluation) -> Auroc:
        """AUROC of the score as a detector of these images among `clean` ones.

        Where several of these images share an original, `clean` is the originals, and the interval counts them.

        Raises:
            SettingsError: these images share originals, and `clean` is of other images.
        """
        if self.image is None:
            return auroc(self.decision.score, clean.decision.score)
        if int(self.image.max() if len(self) else -1) >= len(clean) or not torch.equal(clean.y[self.image], self.y):
            raise SettingsError(
                f"the adversarial images of {self.defense!r} share originals, and the clean evaluation is of other "
                "images: evaluate the originals that were attacked, in order."
            )
        score = torch.cat([self.decision.score, clean.decision.score]).double()
        attacked = torch.arange(len(score)) < len(self)
        groups = torch.cat([self.image, torch.arange(len(clean))])
        return Detection(attacked, torch.zeros_like(attacked), score, torch.zeros_like(groups), groups).auc

    def _check_pairs(self, other: Evaluation) -> None:
        if len(self) == len(other) and not torch.equal(self.y.cpu(), other.y.cpu()):
            raise SettingsError(
                f"{self.defense!r} and {other.defense!r} were evaluated on different images, so their rates cannot be "
                "paired: evaluate both on the same ones, or compare with RateDifference."
            )

    def _rate(self, mask: Tensor, among: Tensor | None = None) -> Rate:
        """Of all images, or of those `among` them."""
        image = self.image
        if among is not None:
            mask, image = mask[among], None if image is None else image[among]
        return Rate.of(mask, independent=None if image is None else int(image.unique().numel()))

    def as_dict(self) -> dict[str, Any]:
        """Rates, mean norms and settings as plain data, for results.json."""
        rates = {"accuracy": self.accuracy, "rejection": self.rejection, "error": self.error}
        if self.success_rate is not None:
            rates["attack_success_rate"] = self.success_rate
            rates["error_on_successes"] = self.on_successes.error
        return {
            "defense": self.defense,
            "n": len(self),
            **{name: {"value": _number(r.value), "lower": r.lower, "upper": r.upper} for name, r in rates.items()},
            "mean_norms": {k: float(v.mean()) for k, v in self.norms.items() if v.numel()},
            "settings": self.settings,
            "checks": list(self.checks),
        }


def _number(value: float) -> float | None:
    """JSON has no NaN."""
    return None if value != value else value


def worst_case(evaluations: list[Evaluation]) -> Tensor:
    """Bool of shape (N,): answered wrongly under at least one of several attacks on the same images, in order."""
    return torch.stack([e.wrong for e in evaluations]).any(0)
