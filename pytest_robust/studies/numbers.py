"""The numbers that a study keeps of one adversarial set: a few per image, so that its pixels can go."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pytest_robust.attacks.adversarial_set import FOUND, NO_STEP, ZERO_DIRECTION, AdversarialSet
from pytest_robust.data.pixels import WHITE
from pytest_robust.evaluation.alignment import align
from pytest_robust.evaluation.ssim import ssim
from pytest_robust.models.classifier import Classifier
from pytest_robust.store.artifacts import Artifact

#: Where an attack does not tell how its search ended.
NOT_RECORDED = -1
#: float32 holds k/255 so exactly that the difference of two such values is a whole level but for less than this.
ROUNDING = 1e-4
#: Causes of failure, and the outcome that goes with each; of an image that was found, success did not last.
CAUSES = {"zero direction": ZERO_DIRECTION, "no step": NO_STEP, "unstable": FOUND, "not recorded": NOT_RECORDED}


def numbers_of(adversarial: AdversarialSet, surface: Classifier, networks: Sequence[Classifier]) -> Artifact:
    """Success, sizes in pixel levels, PASS, outcome and whom else each image fools; see `Crafted` for the tensors.

    Args:
        adversarial: made on `surface`.
        surface: one of `networks`.
        networks: those that are tested, in order.
    """
    clean, success = adversarial.clean, adversarial.success
    delta = level_differences(clean.x, adversarial.x)
    fooling = adversarial.subset(success)
    fools = torch.zeros(len(clean), len(networks), dtype=torch.bool)
    for column, network in enumerate(networks):
        # Its own network was asked at two batch sizes already, which is stricter.
        fools[success, column] = True if network is surface else _fooled(network, fooling)
    told = adversarial.outcome
    outcome = torch.full_like(clean.y, NOT_RECORDED) if told is None else told
    score = torch.full((len(clean),), torch.nan, dtype=torch.float64)
    aligned = torch.zeros_like(success)
    brought, aligned[success] = align(fooling.clean.x, fooling.x)
    score[success] = ssim(fooling.clean.x, brought)
    tensors = {
        "success": success,
        "unstable": adversarial.unstable,
        "l2": delta.square().sum(1).sqrt(),
        "linf": delta.abs().amax(1),
        "pass_score": score,
        "aligned": aligned,
        "outcome": outcome,
        "fools": fools,
    }
    zero = float(adversarial.provenance.get("zero_gradient", 0.0))
    return Artifact(tensors, {"zero_gradient": zero})


def _fooled(network: Classifier, images: AdversarialSet) -> Tensor:
    """Which images the network takes for another class, bool of shape (N,): as success is judged, no rejection is."""
    answer = network.predict(images.x)
    return (answer != images.y) & (answer < images.clean.num_classes)


def level_differences(clean: Tensor, x: Tensor) -> Tensor:
    """By how many pixel levels each value of `x` differs from `clean`, float64 of shape (N, values).

    Exactly whole levels where an image and its original are both of 8 bits: else rounding alone would order
    perturbations of one size. The difference as it is of any image that has a value between two levels.

    Args:
        clean, x: images in [0, 1], float32 of shape (N, C, H, W).
    """
    delta = (x.double() - clean.double()).flatten(1) * WHITE
    whole = delta.round()
    eight_bit = ((delta - whole).abs() < ROUNDING).all(1, keepdim=True)
    return torch.where(eight_bit, whole, delta)
