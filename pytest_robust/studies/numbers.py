"""The numbers that a study keeps of one adversarial set: a few per image, so that its pixels can go."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from pytest_robust.attacks.adversarial_set import FOUND, NO_STEP, ZERO_DIRECTION, AdversarialSet
from pytest_robust.data.pixels import WHITE
from pytest_robust.evaluation.alignment import align
from pytest_robust.evaluation.ssim import ssim
from pytest_robust.models.classifier import Classifier
from pytest_robust.store.artifacts import Artifact

#: Where an attack does not tell how its search ended.
NOT_RECORDED = -1
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
    delta = (adversarial.x.double() - clean.x.double()).flatten(1) * WHITE
    fooling = adversarial.subset(success)
    fools = torch.zeros(len(clean), len(networks), dtype=torch.bool)
    for column, network in enumerate(networks):
        # Its own network was asked at two batch sizes already, which is stricter.
        answer = success[success] if network is surface else network.predict(fooling.x) != fooling.y
        fools[success, column] = answer
    told = adversarial.outcome
    outcome = torch.full_like(clean.y, NOT_RECORDED) if told is None else told
    score = torch.full((len(clean),), torch.nan, dtype=torch.float64)
    aligned = torch.zeros_like(success)
    brought, aligned[success] = align(fooling.clean.x, fooling.x)
    score[success] = ssim(fooling.clean.x, brought)
    tensors = {
        "success": success,
        "unstable": adversarial.unstable,
        "l2": delta.norm(dim=1),
        "linf": delta.abs().amax(1),
        "pass_score": score,
        "aligned": aligned,
        "outcome": outcome,
        "fools": fools,
    }
    zero = float(adversarial.provenance.get("zero_gradient", 0.0))
    return Artifact(tensors, {"zero_gradient": zero})
