"""FGS, FGV and hot/cold: three directions, each of one gradient, for the search of the smallest step.

FGS is of Goodfellow et al. 2015 (https://arxiv.org/abs/1412.6572), FGV and hot/cold are of Rozsa, Rudd & Boult 2016
(Adversarial Diversity and Hard Positive Generation, https://arxiv.org/abs/1605.01775).
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from pytest_robust.attacks.base import TorchAttack
from pytest_robust.attacks.minimal_step import Line, MinimalStep
from pytest_robust.errors import AttackError

#: Doublings of a real-valued step, from the first that changes any value: 1024 times as far, the largest component of a
#: direction has crossed the whole range of pixels twice. After them the step is tried at which nothing moves any more.
DOUBLINGS = 10
#: The real-valued search ends when its two steps differ by less than this share of the smaller *(our choice)*.
RESOLUTION = 1 / 64
#: The largest step, far from infinity, which times a direction of 0 is no number. Only values whose component is below
#: 1e-27 of the largest are still on their way then.
LARGEST = 1e30


class FGS(MinimalStep):
    """Fast gradient sign with the smallest step: every value with a gradient moves by equally many 8-bit levels.

    As values are whole levels, so is the step: 1 … 255, and the search ends with a step that changes the label where
    the next smaller one does not.

    Args:
        estimator: as in `TorchAttack`.
        batch_size: images per evaluation of the model.
        seed: unused, as nothing in it is random.
    """

    def __init__(self, estimator: Any, batch_size: int = 64, seed: int = 0) -> None:
        super().__init__(estimator, batch_size=batch_size, seed=seed)

    def _direction(self, gradient: Tensor, largest: Tensor) -> Tensor:  # noqa: ARG002 (a sign has no scale)
        return gradient.sign()

    def _range(self, line: Line) -> tuple[Tensor, Tensor]:
        last = line.room().flatten(1).amax(1)
        return last.clamp_max(1), last

    def _larger(self, low: Tensor, first: Tensor, last: Tensor) -> Tensor:
        return torch.minimum(torch.maximum(2 * low, first), last)

    def _between(self, low: Tensor, high: Tensor) -> Tensor:
        return ((low + high) / 2).floor()

    def _closed(self, line: Line, low: Tensor, high: Tensor) -> Tensor:  # noqa: ARG002
        return high - low <= 1


class _Graded(MinimalStep):
    """A direction whose values differ, so that the step is a real number and the image changes value by value.

    The step doubles ten times from the first that changes a value; the next one tried moves every value as far as it
    goes. The search ends when its two steps are within 1/64 of each other or give the same image, or with its passes:
    these are enough for 1/64, unless the label changes beyond the doublings.
    """

    def _direction(self, gradient: Tensor, largest: Tensor) -> Tensor:
        return gradient / largest

    def _range(self, line: Line) -> tuple[Tensor, Tensor]:
        room, speed = line.room().flatten(1), line.direction.abs().flatten(1)
        fastest = torch.where(room > 0, speed, 0).amax(1)
        # A value has gone its whole way when the step times its speed rounds to the room that it has.
        longest = torch.where(room > 0, (room - 0.5) / speed, 0).amax(1)
        movable = longest > 0
        # A little more than half a level, and than the whole way: what is divided here and multiplied there may round.
        first = torch.where(movable, (0.5 + 1e-4) / fastest, 0)
        return first, torch.where(movable, torch.maximum(longest * (1 + 1e-6), first), 0).clamp_max(LARGEST)

    def _larger(self, low: Tensor, first: Tensor, last: Tensor) -> Tensor:
        doubled = torch.minimum(torch.maximum(2 * low, first), last)
        return torch.where(low < first * 2**DOUBLINGS, doubled, last)

    def _between(self, low: Tensor, high: Tensor) -> Tensor:
        return low.sqrt() * high.sqrt()  # their product may overflow

    def _closed(self, line: Line, low: Tensor, high: Tensor) -> Tensor:
        same = (line.at(low) == line.at(high.clamp_max(LARGEST))).flatten(1).all(1)
        return same | (high <= low * (1 + RESOLUTION))


class FGV(_Graded):
    """Fast gradient value with the smallest step: the gradient itself, divided by its largest absolute value.

    Args:
        estimator: as in `TorchAttack`.
        batch_size: images per evaluation of the model.
        seed: unused, as nothing in it is random.
    """

    def __init__(self, estimator: Any, batch_size: int = 64, seed: int = 0) -> None:
        super().__init__(estimator, batch_size=batch_size, seed=seed)


class HotCold(_Graded):
    """Hot/cold with the smallest step: raises a hot class and lowers the true one, the cold class, in logit space.

    The direction is the gradient of |h|·z of the hot class minus |h|·z of the true one, z being the logits and h their
    values at the image, divided by its largest absolute value. The paper writes -h at the true class, which is the same
    for every positive logit; where it is negative (log-probabilities always are) that would raise the true class. Any
    change of the label counts, to the hot class or to another.

    Args:
        estimator: as in `TorchAttack`.
        hot: 1 takes the most similar wrong class (HC1), which is the one with the largest logit, 2 the second, ….
        batch_size: images per evaluation of the model.
        seed: unused, as nothing in it is random.

    Raises:
        AttackError: fewer than `hot` wrong classes.
    """

    own_objective: ClassVar[bool] = True
    attack_params: ClassVar[list[str]] = ["hot", *TorchAttack.attack_params]

    def __init__(self, estimator: Any, hot: int = 1, batch_size: int = 64, seed: int = 0) -> None:
        super().__init__(estimator, batch_size=batch_size, seed=seed)
        wrong = int(estimator.nb_classes) - 1 - bool(getattr(self.model, "rejects", False))
        if isinstance(hot, bool) or not isinstance(hot, int) or not 1 <= hot <= wrong:
            raise AttackError(f"HotCold: hot={hot!r} must be a whole number from 1 to {wrong}, the wrong classes.")
        self.hot = hot

    def _uphill(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        logits, _, gradient = self.value_and_gradient(x, y, self._warmth)
        return logits, gradient

    def _warmth(self, logits: Tensor, y: Tensor) -> Tensor:
        cold = y[:, None]
        hot = logits.scatter(1, cold, float("-inf")).topk(self.hot, dim=1).indices[:, -1:]
        chosen = logits.gather(1, torch.cat([hot, cold], 1))
        weighted = chosen * chosen.detach().abs()
        return weighted[:, 0] - weighted[:, 1]
