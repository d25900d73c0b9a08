"""DeepFool: to the nearest boundary of the linearised model, again and again.

Moosavi-Dezfooli et al. 2016, https://arxiv.org/abs/1511.04599, the L2 variant.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from pytest_robust.attacks.base import TorchAttack
from pytest_robust.attacks.geometry import length, per_image
from pytest_robust.errors import AttackError

#: Added to the distance, as in the authors' code: a step that lands on the boundary would not leave the class.
STEP_OVER = 1e-4
#: Share of a batch that still stands below which its forward pass is repeated without the rest.
REPEAT_BELOW = 7 / 8


class DeepFool(TorchAttack):
    """DeepFool in L2: a small perturbation that changes the answer.

    The returned image, overshoot and clipping to [0, 1] included, is the one that was seen to fool the model. An image
    that the model already misclassifies is returned unchanged; one that it still gets right after `max_iter` steps
    is returned as the last step left it. Finished images leave the batch.

    Args:
        estimator: as in `TorchAttack`.
        max_iter: steps per image, at most.
        epsilon: the overshoot, as a share of the perturbation.
        nb_grads: how many of the most likely classes it looks at, the label included.
        batch_size: images per evaluation of the model.
        seed: unused, as nothing in it is random.
    """

    own_objective: ClassVar[bool] = True
    attack_params: ClassVar[list[str]] = ["max_iter", "epsilon", "nb_grads", "batch_size", "seed"]

    def __init__(
        self,
        estimator: Any,
        max_iter: int = 50,
        epsilon: float = 0.02,
        nb_grads: int = 10,
        batch_size: int = 64,
        seed: int = 0,
    ) -> None:
        super().__init__(estimator, batch_size=batch_size, seed=seed)
        if max_iter < 1 or epsilon < 0 or nb_grads < 2:
            raise AttackError(
                f"DeepFool needs max_iter >= 1, epsilon >= 0 and nb_grads >= 2, not {max_iter}, {epsilon} and "
                f"{nb_grads}."
            )
        self.max_iter, self.epsilon, self.nb_grads = max_iter, epsilon, nb_grads

    def _attack(self, x: Tensor, y: Tensor) -> Tensor:
        result, total = x.clone(), torch.zeros_like(x)
        active = torch.arange(len(x), device=x.device)
        for _ in range(self.max_iter):
            robust = [self._steps(x, y, result, total, rows) for rows in active.split(self.batch_size)]
            active = torch.cat(robust)
            if len(active) == 0:
                break
        return result

    def _steps(self, x: Tensor, y: Tensor, result: Tensor, total: Tensor, rows: Tensor) -> Tensor:
        """Take one step for those of `rows` that do not fool the model yet, and return them."""
        images, logits = self._forward(result[rows], y[rows])
        robust = logits.argmax(1) == y[rows]
        left = rows[robust]
        if len(left) == 0:
            return left
        # A backward pass runs through all images of its forward pass, once per class: where several have finished,
        # another forward pass of the others costs less.
        if len(left) < REPEAT_BELOW * len(rows):
            images, logits = self._forward(result[left], y[left])
            step = self._step(images, logits, y[left])
        else:
            step = self._step(images, logits, y[rows])[robust]
        # What the box cut off is forgotten, so that it does not come back in later steps.
        total[left] = (x[left] + total[left] + step).clamp_(0, 1) - x[left]
        result[left] = (x[left] + (1 + self.epsilon) * total[left]).clamp_(0, 1)
        return left

    def _forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        images = x.detach().requires_grad_()
        return images, self.understood(self.model(images), y)

    def _step(self, images: Tensor, logits: Tensor, y: Tensor) -> Tensor:
        """For each image the step to the nearest boundary of the model linearised at it."""
        others = _likeliest_others(logits, y, self.nb_grads - 1)
        gaps = logits.gather(1, y[:, None]) - logits.gather(1, others)
        nearest = torch.full_like(gaps[:, 0], float("inf")).detach()
        step = torch.zeros_like(images)
        # One backward pass per class, each through the difference of two logits: the label's own gradient is never
        # needed alone.
        for k, gap in enumerate(gaps.unbind(1)):
            (gradient,) = torch.autograd.grad(gap.sum(), images, retain_graph=k + 1 < gaps.shape[1])
            self._broken |= gradient.isnan().any()
            slope = length(gradient, 2.0)
            # A class with a zero gradient is never the nearest.
            distance = torch.where(slope > 0, gap.detach().abs() / slope, float("inf"))
            closer = distance < nearest
            scale = torch.where(slope > 0, (distance + STEP_OVER) / slope, 0.0)
            step = torch.where(per_image(closer, images), -per_image(scale, images) * gradient, step)
            nearest = torch.where(closer, distance, nearest)
        return step.detach()


def _likeliest_others(logits: Tensor, y: Tensor, count: int) -> Tensor:
    """The `count` classes other than `y` with the largest logits, int64 of shape (N, count), likeliest first."""
    others = logits.detach().scatter(1, y[:, None], float("-inf"))
    return others.topk(min(count, logits.shape[1] - 1), dim=1).indices
