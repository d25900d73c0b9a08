"""The smallest step along one direction that changes the label of the 8-bit image: the search FGS, FGV and HC share.

As in Rozsa, Günther & Boult (Are Accuracy and Robustness Correlated?, https://arxiv.org/abs/1610.04563): the direction
is taken once per image, the step grows along it until the label of the rounded image changes, and the last part is
bisected. The directions are in `fixed_directions`.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from pytest_robust.attacks.adversarial_set import FOUND, NO_STEP, ZERO_DIRECTION
from pytest_robust.attacks.base import TorchAttack
from pytest_robust.attacks.geometry import per_image
from pytest_robust.data.pixels import WHITE, levels_of

#: Forward passes that the search takes per image, at most. With the one of the gradient they are 20.
PASSES = 19


@dataclass(frozen=True)
class Line:
    """Images along fixed directions.

    Args:
        start: the images in 8-bit levels: whole numbers 0 … 255 as float32, of shape (n, C, H, W).
        direction: where each goes, float32 of the same shape; its largest absolute value is 1.
    """

    start: Tensor
    direction: Tensor

    def __getitem__(self, rows: Tensor) -> Line:
        return Line(self.start[rows], self.direction[rows])

    def at(self, step: Tensor) -> Tensor:
        """8-bit levels after a `step`, of shape (n,): a value moves by round(step · |direction|), half rounded up."""
        moved = (self.direction.abs() * per_image(step, self.start) + 0.5).floor_()
        return moved.mul_(self.direction.sign()).add_(self.start).clamp_(0, WHITE)

    def room(self) -> Tensor:
        """How many levels each value can go before it is black or white; 0 where the direction is 0."""
        room = torch.where(self.direction > 0, WHITE - self.start, self.start)
        return room * (self.direction != 0)


class MinimalStep(TorchAttack):
    """The smallest step along a fixed direction that changes the label of the image, rounded to 8 bits.

    Images are rounded to whole levels 0 … 255 before anything else (an image of 8 bits stays as it is), and so is
    every image that is tried; what comes back is such an image divided by 255. The step is the L∞ distance in levels,
    before rounding and clipping. It is doubled until the label changes, up to the step from which on nothing moves any
    more, because every value that has a direction is black or white; then the last part is bisected. All images are
    searched at the same time, each with its own step, and finished ones leave. That takes one pass of the gradient and
    at most 19 more forward passes per image.

    The label need not be monotone along the line, so the result is the smallest step *found*: the label changes there,
    but may have changed and changed back between two steps that were tried.

    An image that the model misclassifies as it is comes back as it is. So does one for which no step is found, and
    `outcome` says why: its direction is zero everywhere, or no step that was tried changes its label.

    Args:
        estimator: as in `TorchAttack`.
        batch_size: images per evaluation of the model.
        seed: unused, as nothing in it is random.
    """

    def _start(self) -> None:
        self._outcomes: list[Tensor] = []

    @property
    def outcome(self) -> Tensor:
        """How the search for each image of the last `perturb` ended (`AdversarialSet.outcome`), int64 of shape (N,)."""
        return torch.cat(self._outcomes) if self._outcomes else torch.empty(0, dtype=torch.int64)

    def _attack(self, x: Tensor, y: Tensor) -> Tensor:
        start = levels_of(x)
        logits, gradient = self._uphill(start / WHITE, y)
        self._broken |= ~gradient.isfinite().all()
        largest = gradient.flatten(1).abs().amax(1)
        outcome = torch.full_like(y, FOUND)
        right = logits.argmax(1) == y
        outcome[right & (largest == 0)] = ZERO_DIRECTION
        rows = (right & (largest > 0)).nonzero()[:, 0]
        line = Line(start[rows], self._direction(gradient[rows], per_image(largest[rows], start)))
        step = self._search(line, y[rows])
        found = step.isfinite()
        outcome[rows[~found]] = NO_STEP
        self._outcomes.append(outcome.cpu())
        start[rows[found]] = line[found].at(step[found])
        return start / WHITE

    def _search(self, line: Line, y: Tensor) -> Tensor:
        """The smallest step found for each image, float32 of shape (n,); infinite where there is none."""
        first, last = self._range(line)
        # The label is as it was at `low`, and has changed at `high`.
        low, high = torch.zeros_like(first), torch.full_like(first, torch.inf)
        rows = (last > 0).nonzero()[:, 0]
        for _ in range(PASSES):
            if len(rows) == 0:
                break
            bracketed = high[rows].isfinite()
            larger = self._larger(low[rows], first[rows], last[rows])
            step = torch.where(bracketed, self._between(low[rows], high[rows]), larger)
            changed = self.answers(line[rows].at(step) / WHITE, y[rows]).argmax(1) != y[rows]
            high[rows[changed]], low[rows[~changed]] = step[changed], step[~changed]
            rows = rows[~self._finished(line[rows], low[rows], high[rows], first[rows], last[rows])]
        return high

    def _finished(self, line: Line, low: Tensor, high: Tensor, first: Tensor, last: Tensor) -> Tensor:
        failed = high.isinf() & (low >= last)
        return failed | (high <= first) | (high.isfinite() & self._closed(line, low, high))

    def _uphill(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Logits, and the gradient along which the label is to change, of one pass: the loss's, if not overridden."""
        logits, _, gradient = self.loss_and_gradient(x, y)
        return logits, gradient

    @abstractmethod
    def _direction(self, gradient: Tensor, largest: Tensor) -> Tensor:
        """Where to go, with 1 as the largest absolute value; `largest` is the gradient's, which is not zero."""

    @abstractmethod
    def _range(self, line: Line) -> tuple[Tensor, Tensor]:
        """The first step that changes any value and the first that changes all as far as they go; 0, 0 if none do."""

    @abstractmethod
    def _larger(self, low: Tensor, first: Tensor, last: Tensor) -> Tensor:
        """The next step to try while none has changed the label, after `low` (0 before the first)."""

    @abstractmethod
    def _between(self, low: Tensor, high: Tensor) -> Tensor:
        """The next step to try between two."""

    @abstractmethod
    def _closed(self, line: Line, low: Tensor, high: Tensor) -> Tensor:
        """Whether there is nothing left to try between two steps, bool of shape (n,)."""
