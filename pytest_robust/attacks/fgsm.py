"""FGSM: one step of the whole budget along the gradient (Goodfellow et al. 2015, https://arxiv.org/abs/1412.6572)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor

from pytest_robust.attacks.base import TorchAttack
from pytest_robust.attacks.geometry import Noise, norm_order, per_image, project, steepest, steepest_l1
from pytest_robust.errors import AttackError


class FGSM(TorchAttack):
    """Fast gradient method in L∞, L2 or L1.

    x' = clip(x + ε · step), where step is the sign of the gradient (L∞) or its direction (L2). In L1 the budget goes to
    the values with the largest gradients, each as far as the box [0, 1] lets it (ART moves a single value).

    Args:
        estimator: as in `TorchAttack`.
        norm: ``"inf"`` (or ``np.inf``), 2 or 1.
        eps: ε, in units of [0, 1] images.
        targeted: step towards `y`.
        num_random_init: random starts inside the ball; 0 starts at the image. Of several, each image keeps its first
            that fools the model.
        batch_size: images per evaluation of the model.
        seed: of the random starts.
    """

    attack_params: ClassVar[list[str]] = ["norm", "eps", "num_random_init", *TorchAttack.attack_params]

    def __init__(
        self,
        estimator: Any,
        norm: float | str = "inf",
        eps: float = 0.3,
        targeted: bool = False,
        num_random_init: int = 0,
        batch_size: int = 64,
        seed: int = 0,
    ) -> None:
        super().__init__(estimator, targeted=targeted, batch_size=batch_size, seed=seed)
        if eps <= 0 or num_random_init < 0:
            raise AttackError(f"FGSM needs eps > 0 and num_random_init >= 0, not {eps} and {num_random_init}.")
        self.norm, self.eps, self.num_random_init = norm, eps, num_random_init
        self._order = norm_order(norm)

    def _start(self) -> None:
        self._noise = Noise(self.seed, self.num_random_init)

    def _attack(self, x: Tensor, y: Tensor) -> Tensor:
        starts = self._noise.draw(x, self.eps, self._order) or [torch.zeros_like(x)]
        best = self._step(x, y, starts[0])
        for start in starts[1:]:
            robust = (self.answers(best, y).argmax(1) == y) != self.targeted
            best = torch.where(per_image(robust, x), self._step(x, y, start), best)
        return best

    def line(self, x: Tensor, y: Tensor) -> Callable[[Tensor, float], Tensor]:
        """The images that this attack makes at any ε, with one gradient for all of them and without random starts.

        The function takes rows of `x`, int64 of shape (n,), and ε, and returns float32 images of shape (n, C, H, W).
        """
        uphill = self._uphill(x, y)
        return lambda rows, eps: self._moved(x[rows], uphill[rows], torch.zeros_like(x[rows]), eps)

    def _step(self, x: Tensor, y: Tensor, start: Tensor) -> Tensor:
        return self._moved(x, self._uphill((x + start).clamp_(0, 1), y), start, self.eps)

    def _uphill(self, x: Tensor, y: Tensor) -> Tensor:
        _, _, gradient = self.loss_and_gradient(x, y)
        return -gradient if self.targeted else gradient

    def _moved(self, x: Tensor, uphill: Tensor, start: Tensor, eps: float) -> Tensor:
        if self._order == 1:
            return (x + steepest_l1(x, uphill, eps)).clamp_(0, 1)
        step = steepest(uphill, self._order).mul_(eps)
        return (x + project(start + step, eps, self._order)).clamp_(0, 1)
