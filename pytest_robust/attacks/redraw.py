"""Redrawing: against a defense whose random numbers hang on the image, noise too small to matter draws them anew."""

from __future__ import annotations

import torch
from torch import Tensor

from pytest_robust.attacks.adversarial_set import AdversarialSet
from pytest_robust.attacks.attack import Attack
from pytest_robust.attacks.checks import check_output
from pytest_robust.attacks.draws import normal
from pytest_robust.attacks.geometry import project
from pytest_robust.data.split import Split
from pytest_robust.errors import SettingsError
from pytest_robust.models.threads import suitable_threads
from pytest_robust.threats.defended import Defended

#: Standard deviation of the noise, in units of [0, 1] images (our choice): thousands of times less than a grey level,
#: so that nothing but the draw changes, and sixteen float32 numbers around 0.5, so that no draw is met twice.
SIGMA = 1e-6
#: Tries for each image, as `redraws` of `Bench.worst_case` has it by default (our choice: a budget of queries; every
#: further try can only find more).
REDRAWS = 60
_ORDERS = {"linf": float("inf"), "l2": 2.0}


def redraw(defended: Defended, split: Split, at: Tensor, attack: Attack, *, draws: int, seed: int) -> AdversarialSet:
    """For each image the first of `draws` noisy copies of `at` that `defended` answers wrongly; `at` where none is.

    Every copy is inside the ball of `attack` around its original, and in [0, 1]. It asks for decisions alone, so it
    needs no gradient, and it is no attack on the network: a defense that draws no numbers answers all copies alike.

    Args:
        defended: what is asked.
        split: the originals, with their labels.
        at: an image for each, float32 of shape (N, C, H, W), in the ball: what an attack made.
        attack: whose norm (L∞ or L2) and budget hold.
        draws: how many copies, at most.
        seed: of the noise.

    Raises:
        SettingsError: the attack has no budget, or one in another norm.
    """
    order, eps = ball_of(attack)
    made, found = at.clone(), torch.zeros(len(at), dtype=torch.bool)
    with suitable_threads(split.input_shape, defended.device):
        for number in range(draws):
            rows = (~found).nonzero()[:, 0]
            if len(rows) == 0:
                break
            noise = SIGMA * normal(seed, (number,), rows, at[0].numel()).view_as(at[rows])
            x = split.x[rows]
            tried = (x + project(at[rows] + noise - x, eps, order)).clamp_(0, 1)
            wrong = defended.decide(tried).wrong(split.y[rows])
            made[rows[wrong]], found[rows[wrong]] = tried[wrong], True
    check_output(attack, split.x, made)
    title = f"redraw(sigma={SIGMA:g}, draws={draws})"
    provenance = {"attack": "redraw", "title": title, "budget": eps, "norm": attack.norm, "data": split.name}
    return AdversarialSet(split, made, found, torch.zeros_like(found), provenance=provenance)


def ball_of(attack: Attack) -> tuple[float, float]:
    """Order of the norm and radius of the ball in which images are redrawn.

    Raises:
        SettingsError: the attack has no budget, or one in another norm than L∞ and L2.
    """
    order, eps = _ORDERS.get(str(attack.norm)), attack.eps
    if order is None or eps is None:
        raise SettingsError(
            f"images are redrawn within a budget in L∞ or L2, and {attack.title} has none: choose another attack."
        )
    return order, eps
