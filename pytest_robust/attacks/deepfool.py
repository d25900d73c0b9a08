"""DeepFool: to the nearest boundary of the linearised model, again and again.

Moosavi-Dezfooli et al. 2016, https://arxiv.org/abs/1511.04599, the L2 variant.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from pytest_robust.attacks.base import TorchAttack
from pytest_robust.attacks.geometry import per_image
from pytest_robust.errors import AttackError

#: Added to the distance, as in the authors' code: a step that lands on the boundary would not leave the class.
STEP_OVER = 1e-4


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
        result = x.clone()
        total = torch.zeros_like(x)
        active = torch.arange(len(x), device=x.device)
        for step in range(self.max_iter + 1):
            # Asked before the gradients, as ten backward passes for an image that is finished cost more than this.
            active = active[self.logits(result[active]).argmax(1) == y[active]]
            if step == self.max_iter or len(active) == 0:
                break
            total[active] += self._steps(result[active], y[active])
            # What the box cut off is forgotten, so that it does not come back in later steps.
            total[active] = (x[active] + total[active]).clamp_(0, 1) - x[active]
            result[active] = (x[active] + (1 + self.epsilon) * total[active]).clamp_(0, 1)
        return result

    def _steps(self, x: Tensor, y: Tensor) -> Tensor:
        """For each image the step to the nearest boundary of the model linearised at `x`."""
        return torch.cat([self._step(images, labels) for images, labels in self._batches(x, y)])

    def _step(self, x: Tensor, y: Tensor) -> Tensor:
        images = x.detach().requires_grad_()
        logits = self.model(images)
        others = _likeliest_others(logits, y, self.nb_grads - 1)
        gaps = logits.gather(1, y[:, None]) - logits.gather(1, others)
        nearest = torch.full_like(gaps[:, 0], float("inf")).detach()
        step = torch.zeros_like(x)
        # One backward pass per class, each through the difference of two logits: the label's own gradient is never
        # needed alone.
        for k, gap in enumerate(gaps.unbind(1)):
            (gradient,) = torch.autograd.grad(gap.sum(), images, retain_graph=k + 1 < gaps.shape[1])
            self._broken |= gradient.isnan().any()
            square = gradient.flatten(1).square().sum(1)
            # A class with a zero gradient is never the nearest.
            distance = torch.where(square > 0, gap.detach().abs() / square.sqrt(), float("inf"))
            closer = distance < nearest
            scale = torch.where(square > 0, (gap.detach().abs() + STEP_OVER) / square, 0.0)
            step = torch.where(per_image(closer, x), -per_image(scale, x) * gradient, step)
            nearest = torch.where(closer, distance, nearest)
        return step


def _likeliest_others(logits: Tensor, y: Tensor, count: int) -> Tensor:
    """The `count` classes other than `y` with the largest logits, int64 of shape (N, count), likeliest first."""
    others = logits.detach().scatter(1, y[:, None], float("-inf"))
    return others.topk(min(count, logits.shape[1] - 1), dim=1).indices
