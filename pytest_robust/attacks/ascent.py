"""Gradient ascent on the target's log-probability with the raw gradient, until it fools the model or a little longer.

The adversaries of Wang, Kunin & Pyron (Exploring adversarial input spaces and defenses): minimal and extended ones.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from pytest_robust.attacks.base import TorchAttack
from pytest_robust.attacks.geometry import length
from pytest_robust.errors import AttackError


class GradientAscent(TorchAttack):
    """Targeted ascent: x ← clip(x + η ∇ₓ log p(target | x)), the gradient as it is and not its sign.

    *Minimal* adversaries (`extra_iter` 0) stop as soon as they fool the model, *extended* ones go on for `extra_iter`
    more steps. Without a target it descends the log-probability of the label instead. An image that is not fooled after
    `max_iter` steps, or that ends farther away than `max_l2`, counts as failed and comes back unchanged. Finished
    images leave the batch.

    Args:
        estimator: as in `TorchAttack`.
        eps_step: η, the factor on the gradient; 5e-3 in the authors' code.
        max_iter: steps until it must have fooled the model; 50 in the authors' code (MNIST).
        extra_iter: further steps after that; the paper says "several".
        max_l2: largest L2 distance; 2 in the authors' code (MNIST). None is no limit.
        targeted: reach `y` instead of leaving it.
        batch_size: images per evaluation of the model.
        seed: unused, as nothing in it is random.
    """

    own_objective: ClassVar[bool] = True
    attack_params: ClassVar[list[str]] = ["eps_step", "max_iter", "extra_iter", "max_l2", *TorchAttack.attack_params]

    def __init__(
        self,
        estimator: Any,
        eps_step: float = 5e-3,
        max_iter: int = 50,
        extra_iter: int = 0,
        max_l2: float | None = None,
        targeted: bool = False,
        batch_size: int = 64,
        seed: int = 0,
    ) -> None:
        super().__init__(estimator, targeted=targeted, batch_size=batch_size, seed=seed)
        if eps_step <= 0 or max_iter < 1 or extra_iter < 0 or (max_l2 is not None and max_l2 <= 0):
            raise AttackError(
                "GradientAscent needs eps_step > 0, max_iter >= 1, extra_iter >= 0 and max_l2 > 0 (or None), not "
                f"{eps_step}, {max_iter}, {extra_iter} and {max_l2}."
            )
        self.eps_step, self.max_iter, self.extra_iter, self.max_l2 = eps_step, max_iter, extra_iter, max_l2

    def _attack(self, x: Tensor, y: Tensor) -> Tensor:
        at, fooled = x.clone(), torch.zeros_like(y, dtype=torch.bool)
        # How many more steps an image may take: until it fools the model, and then for as long as it is extended.
        left = torch.full_like(y, self.max_iter)
        rows = torch.arange(len(x), device=x.device)
        while len(rows):
            logits, _, gradient = self.value_and_gradient(at[rows], y[rows], log_probability)
            new = ((logits.argmax(1) == y[rows]) == self.targeted) & ~fooled[rows]
            fooled[rows[new]], left[rows[new]] = True, self.extra_iter
            goes_on = left[rows] > 0
            rows, gradient = rows[goes_on], gradient[goes_on]
            at[rows] = (at[rows] + (self.eps_step if self.targeted else -self.eps_step) * gradient).clamp_(0, 1)
            left[rows] -= 1
            # Whoever has fooled the model need not be looked at again after its last step.
            rows = rows[(left[rows] > 0) | ~fooled[rows]]
        failed = ~fooled
        if self.max_l2 is not None:
            failed |= length(at - x, 2.0) > self.max_l2
        at[failed] = x[failed]
        return at


def log_probability(logits: Tensor, y: Tensor) -> Tensor:
    """log p(y | x) of each image, of shape (N,)."""
    return -F.cross_entropy(logits, y, reduction="none")
