"""BIM and PGD: many small steps along the gradient, inside the ball.

Kurakin et al. 2017 (https://arxiv.org/abs/1607.02533) and Madry et al. 2018 (https://arxiv.org/abs/1706.06083).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from pytest_robust.attacks.base import TorchAttack
from pytest_robust.attacks.geometry import Noise, norm_order, per_image, project, steepest
from pytest_robust.errors import AttackError


class _Iterative(TorchAttack):
    """The step that both attacks take."""

    def __init__(
        self, estimator: Any, *, norm: float | str, eps: float, eps_step: float, max_iter: int, **shared: Any
    ) -> None:
        super().__init__(estimator, **shared)
        if eps <= 0 or eps_step <= 0 or max_iter < 1:
            raise AttackError(
                f"{type(self).__name__} needs eps > 0, eps_step > 0 and max_iter >= 1, not {eps}, {eps_step} and "
                f"{max_iter}."
            )
        self.norm, self.eps, self.eps_step, self.max_iter = norm, eps, eps_step, max_iter
        self._order = norm_order(norm)
        if self._order == 1:
            raise AttackError(f"{type(self).__name__} works in L∞ and L2; for L1 use art:AutoProjectedGradientDescent.")

    def _next(self, x: Tensor, at: Tensor, gradient: Tensor) -> Tensor:
        step = steepest(gradient, self._order).mul_(-self.eps_step if self.targeted else self.eps_step)
        return (x + project(at + step - x, self.eps, self._order)).clamp_(0, 1)


class BIM(_Iterative):
    """Basic iterative method, also called I-FGSM, as published.

    It starts at the image, runs every iteration, also on images that already fool the model, and returns the last
    iterate: pushing on past the boundary is what makes its images transfer.

    Args:
        estimator: as in `TorchAttack`.
        norm: ``"inf"`` (or ``np.inf``) or 2.
        eps: radius of the ball, in units of [0, 1] images.
        eps_step: length of a step.
        max_iter: number of steps.
        targeted: steps towards `y`.
        batch_size: images per evaluation of the model.
        seed: unused, as nothing in it is random.
    """

    attack_params: ClassVar[list[str]] = ["norm", "eps", "eps_step", "max_iter", *TorchAttack.attack_params]

    def __init__(
        self,
        estimator: Any,
        eps: float = 0.3,
        eps_step: float = 0.1,
        max_iter: int = 100,
        targeted: bool = False,
        batch_size: int = 64,
        norm: float | str = "inf",
        seed: int = 0,
    ) -> None:
        super().__init__(
            estimator,
            norm=norm,
            eps=eps,
            eps_step=eps_step,
            max_iter=max_iter,
            targeted=targeted,
            batch_size=batch_size,
            seed=seed,
        )

    def _attack(self, x: Tensor, y: Tensor) -> Tensor:
        at = x
        for _ in range(self.max_iter):
            _, _, gradient = self.loss_and_gradient(at, y)
            at = self._next(x, at, gradient)
        return at


@dataclass
class _Best:
    """Per image the best point so far: one that fools the model before one that does not, then by loss."""

    x: Tensor
    fooled: Tensor
    loss: Tensor

    def update(self, x: Tensor, fooled: Tensor, loss: Tensor) -> None:
        better = torch.where(fooled == self.fooled, loss > self.loss, fooled)
        self.x = torch.where(per_image(better, x), x, self.x)
        self.loss = torch.where(better, loss, self.loss)
        self.fooled = self.fooled | fooled

    def merge(self, rows: Tensor, other: _Best) -> None:
        part = _Best(self.x[rows], self.fooled[rows], self.loss[rows])
        part.update(other.x, other.fooled, other.loss)
        self.x[rows], self.fooled[rows], self.loss[rows] = part.x, part.fooled, part.loss


class PGD(_Iterative):
    """Projected gradient descent with restarts, keeping the best iterate.

    Per image, it returns the iterate with the highest loss among those that fool the model (of all, where none
    does), the last one included: it costs one more forward pass than the steps. Images stay in the batch for all steps
    of a restart, as their loss still rises; a further restart attacks only those that no earlier one has broken.

    Args:
        estimator: as in `TorchAttack`.
        norm: ``"inf"`` (or ``np.inf``) or 2.
        eps: radius of the ball, in units of [0, 1] images.
        eps_step: length of a step.
        max_iter: number of steps of each restart.
        targeted: steps towards `y`.
        num_random_init: number of starts, each uniform in the ball; 0 is one start at the image.
        batch_size: images per evaluation of the model.
        seed: of the random starts.
    """

    attack_params: ClassVar[list[str]] = [
        "norm",
        "eps",
        "eps_step",
        "max_iter",
        "num_random_init",
        *TorchAttack.attack_params,
    ]

    def __init__(
        self,
        estimator: Any,
        norm: float | str = "inf",
        eps: float = 0.3,
        eps_step: float = 0.1,
        max_iter: int = 100,
        targeted: bool = False,
        num_random_init: int = 1,
        batch_size: int = 64,
        seed: int = 0,
    ) -> None:
        super().__init__(
            estimator,
            norm=norm,
            eps=eps,
            eps_step=eps_step,
            max_iter=max_iter,
            targeted=targeted,
            batch_size=batch_size,
            seed=seed,
        )
        if num_random_init < 0:
            raise AttackError(f"PGD needs num_random_init >= 0, not {num_random_init}.")
        self.num_random_init = num_random_init

    def _start(self) -> None:
        self._noise = Noise(self.seed, self.num_random_init)

    def _attack(self, x: Tensor, y: Tensor) -> Tensor:
        starts = self._noise.draw(x, self.eps, self._order) or [torch.zeros_like(x)]
        best = self._climb(x, y, starts[0])
        for start in starts[1:]:
            rows = (~best.fooled).nonzero()[:, 0]
            if len(rows) == 0:
                break
            best.merge(rows, self._climb(x[rows], y[rows], start[rows]))
        return best.x

    def _climb(self, x: Tensor, y: Tensor, start: Tensor) -> _Best:
        at = (x + start).clamp_(0, 1)
        best = _Best(at, torch.zeros_like(y, dtype=torch.bool), torch.full_like(x[:, 0, 0, 0], float("-inf")))
        for _ in range(self.max_iter):
            logits, loss, gradient = self.loss_and_gradient(at, y)
            self._judge(best, at, y, logits, loss)
            at = self._next(x, at, gradient)
        self._judge(best, at, y, *self._last_look(at, y))
        return best

    def _last_look(self, at: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and losses of the last iterate, whose gradient nobody needs."""
        with torch.no_grad():
            logits, loss = zip(*(self.loss(*batch) for batch in self._batches(at, y)), strict=True)
        return torch.cat(logits), torch.cat(loss)

    def _judge(self, best: _Best, at: Tensor, y: Tensor, logits: Tensor, loss: Tensor) -> None:
        fooled = (logits.argmax(1) == y) == self.targeted
        best.update(at, fooled, -loss if self.targeted else loss)
