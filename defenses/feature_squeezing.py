"""Feature squeezing: an image is rejected where the answer changes once the image has been squeezed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from pytest_robust.attacks.objectives import runner_up
from pytest_robust.bench.bench import Bench
from pytest_robust.bench.defense import Defense
from pytest_robust.bench.held_out import training_and_held_out
from pytest_robust.data.split import Split
from pytest_robust.errors import SettingsError
from pytest_robust.models.classifier import Classifier
from pytest_robust.models.squeezers import code_of, squeezer
from pytest_robust.store.fingerprint import fingerprint, source_fingerprint
from pytest_robust.threats.decision import Decision
from pytest_robust.threats.defended import Defended, ThreatModel
from pytest_robust.threats.surfaces import DetectorAware, straight_through, surface_of

#: The paper's best joint detectors, of grey images (MNIST) and of colour images (CIFAR-10; Table III) …
GREY = ("bit_depth_1", "median_filter_2_2")
COLOUR = ("bit_depth_5", "median_filter_2_2", "non_local_means_13_3_2")
#: … and (ours) of images too small for a median, which takes 18 points of accuracy where strokes are two pixels wide.
#: Of bit depths 1 to 4, alone and with a median, this one detected most FGSM, BIM, JSMA and DeepFool images made from
#: the digits' held-out training images, on average over three networks.
TINY, TINY_SIDE = ("bit_depth_3",), 16


@dataclass(frozen=True)
class FeatureSqueezing(Defense):
    """A network and a detector of answers that squeezing changes; it rejects what is detected.

    The label is the network's for the image as it is; the score is the largest L1 distance between the softmax answers
    to the image and to a squeezed one, from 0 to 2 (equation 3).

    Args:
        squeezers: names (`pytest_robust.models.squeezers.squeezer`); None is the paper's choice for grey or colour
            images, or one for tiny ones.
        false_alarms: share of clean held-out training images that may lie beyond the threshold; the paper's is 5 %.
    """

    name: ClassVar[str] = "feature_squeezing"
    paper: ClassVar[str] = (
        "Xu, Evans, Qi: Feature Squeezing: Detecting Adversarial Examples in Deep Neural Networks, NDSS 2018, "
        "arXiv:1704.01155"
    )
    limitation: ClassVar[str] = (
        "an attacker who knows the squeezers and adds the distance to the loss evades it (He et al., WOOT 2017, "
        "arXiv:1706.04701)"
    )

    squeezers: tuple[str, ...] | None = None
    false_alarms: float = 0.05

    def fit(self, bench: Bench) -> Defended:
        """Put the detector around the bench's undefended network, with a threshold from held-out training images."""
        training, held_out = training_and_held_out(bench)
        if bench.validation_split is not None:
            return self.around(bench, bench.classifier, held_out)
        recipe = bench.recipe(training, validation=held_out, name="undefended, some images held out")
        return self.around(bench, bench.train(recipe), held_out)

    def around(self, bench: Bench, network: Classifier, held_out: Split) -> Defended:
        """The defense around a trained network; `held_out` are clean images that it was not trained on.

        Raises:
            SettingsError: an unknown squeezer or an impossible share of false alarms.
        """
        names = self.squeezers or _papers_choice(network.input_shape)
        distance = SqueezedDistance(network, names)
        threshold = threshold_for(_distances(distance, held_out.x, network), self.false_alarms)

        def decide(x: Tensor) -> Decision:
            logits = network.logits_of(x, len(x))
            score = distance.between(logits, x)
            return Decision(logits.argmax(1), score > threshold, score)

        adaptive = surface_of(
            SqueezingAware(network, distance, threshold),
            network,
            f"{network.name} and squeezers",
            outputs=network.num_classes + 1,
        )
        return Defended(
            name=self.title,
            num_classes=network.num_classes,
            decide_batch=decide,
            surfaces={
                ThreatModel.GRAY_BOX: network,
                ThreatModel.WHITE_BOX: network,
                ThreatModel.ADAPTIVE: adaptive,
            },
            device=bench.device,
            fingerprint=fingerprint([self.title, source_fingerprint(type(self)), code_of(names), adaptive.fingerprint]),
            networks={"network": network},
            fitted_on=held_out,
        )


class SqueezedDistance(nn.Module):
    """The largest L1 distance between a network's softmax answers to an image and to squeezed ones (equation 3).

    A gradient goes straight through the squeezers, as if they did nothing (BPDA, Athalye et al. 2018).

    Args:
        network: what answers.
        names: of the squeezers, one at least.

    Raises:
        SettingsError: an unknown squeezer, or none.
    """

    def __init__(self, network: Classifier, names: Sequence[str]) -> None:
        super().__init__()
        if not names:
            raise SettingsError("feature squeezing needs at least one squeezer.")
        self.network = network
        self.names = tuple(names)
        self._squeezers = [squeezer(name) for name in names]

    def forward(self, x: Tensor) -> Tensor:
        """Float of shape (N,), from 0 to 2, of images (N, C, H, W) in [0, 1]."""
        return self.between(self.network(x), x)

    def between(self, logits: Tensor, x: Tensor) -> Tensor:
        """The same, where the network's `logits` for `x` are known."""
        return largest_distance(logits, self.squeezed(x))

    def squeezed(self, x: Tensor) -> list[Tensor]:
        """The network's logits for the image as each squeezer leaves it, float of shape (N, K) each."""
        return [self.network(straight_through(squeeze, x)) for squeeze in self._squeezers]


def largest_distance(logits: Tensor, squeezed: Sequence[Tensor]) -> Tensor:
    """The largest L1 distance of softmax answers, float of shape (N,), between `logits` (N, K) and any of others."""
    raw = logits.softmax(1)
    return torch.stack([(raw - answer.softmax(1)).abs().sum(1) for answer in squeezed]).amax(0)


class Beyond(nn.Module):
    """By how much a value of images is beyond a threshold: above zero where the detector rejects.

    Args:
        value: from images to float (N,).
        threshold: the largest value that is not rejected.
    """

    threshold: Tensor

    def __init__(self, value: nn.Module, threshold: float) -> None:
        super().__init__()
        self.value = value
        self.register_buffer("threshold", torch.tensor(threshold))

    def forward(self, x: Tensor) -> Tensor:
        """Float of shape (N,)."""
        beyond: Tensor = self.value(x) - self.threshold
        return beyond


class SqueezingAware(DetectorAware):
    """The network and the detector as one network with an output for "rejected", and the loss of who knows both.

    Where nothing is rejected, an attacker climbs the network's own loss. Where something is, it climbs the log-odds of
    being wrong by the product of the answers to the image and to the squeezed ones, minus the detector's value: so all
    of them go to one wrong class. `DetectorAware`'s outputs alone give too little there, as the distance is flat where
    the answers are sure: PGD on them may fool fewer than PGD that is blind to the detector. (Chosen on held-out
    training images of the digits, at budgets of 0.1 to 0.2. Of 100 at 0.15, PGD of 40 steps, then towards each wrong
    class, got through on 81; the label first and then the detector, as in `mismatch`, on 79, and together on 81.)

    Args:
        network: what answers.
        distance: of its answers.
        threshold: the largest distance that is not rejected.
    """

    def __init__(self, network: Classifier, distance: SqueezedDistance, threshold: float) -> None:
        super().__init__(network, Beyond(distance, threshold))
        self.distance = distance
        self.threshold = threshold

    def attack_loss(self, x: Tensor, y: Tensor, targeted: bool) -> tuple[Tensor, Tensor]:
        """The outputs, and what an attacker climbs (targeted: descends) for each image, float of shape (N,)."""
        logits, squeezed = self.classifier(x), self.distance.squeezed(x)
        suspicion = largest_distance(logits, squeezed) - self.threshold
        outputs = torch.cat([logits, (logits.amax(1) + suspicion)[:, None]], dim=1)
        joint = torch.stack([answer.log_softmax(1) for answer in (logits, *squeezed)]).sum(0)
        # Suspicion is to fall either way, so it has the sign of the direction.
        accepted = runner_up(joint, y) + (suspicion if targeted else -suspicion)
        return outputs, torch.where(suspicion > 0, accepted, runner_up(logits, y))


def _papers_choice(input_shape: tuple[int, int, int]) -> tuple[str, ...]:
    channels, height, width = input_shape
    if min(height, width) < TINY_SIDE:
        return TINY
    return GREY if channels == 1 else COLOUR


def threshold_for(values: Tensor, false_alarms: float) -> float:
    """The smallest of `values` (N,) that at most a share of `false_alarms` of them exceeds (section V.B).

    Raises:
        SettingsError: no values, or a share outside [0, 1).
    """
    if not 0 <= false_alarms < 1 or len(values) == 0:
        raise SettingsError(
            f"a threshold needs held-out images and a share of false alarms in [0, 1), not {len(values)} images and "
            f"{false_alarms:g}."
        )
    # Rounded first: 200 · (1 − 0.05) is a little more than 190 in floating point.
    allowed = math.ceil(round(len(values) * (1 - false_alarms), 9))
    return float(values.sort().values[allowed - 1])


@torch.no_grad()
def _distances(distance: SqueezedDistance, x: Tensor, network: Classifier, batch_size: int = 512) -> Tensor:
    return torch.cat([distance(batch.to(network.device)).cpu() for batch in x.split(batch_size)])


defense = FeatureSqueezing
