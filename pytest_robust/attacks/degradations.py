"""Degradations: blur, Gaussian noise, salt and pepper, each as much of it as it takes to change the answer.

Three attacks of Monteiro et al. (Generalizable Adversarial Examples Detection Based on Bi-model Decision Mismatch), who
search a line for the smallest strength that changes the prediction. They need no gradient.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from pytest_robust.attacks.blurring import blurred
from pytest_robust.attacks.draws import normal, signs, uniform
from pytest_robust.attacks.smallest_budget import Line, LineSearch
from pytest_robust.errors import AttackError


class GaussianBlur(LineSearch):
    """Blurs the image until it fools the model.

    The kernel is a sampled Gaussian of radius ⌊4 σ + ½⌋ pixels, normalised, along rows and then columns; beyond the
    border the image is mirrored, the border pixel not repeated (torch's "reflect"), as often as the radius needs.

    Args:
        estimator: as in `TorchAttack`.
        largest: largest σ, in pixels.
        steps: number of σ that are tried, the smallest first.
        targeted: reach `y` instead of leaving it.
        batch_size: images per evaluation of the model.
        seed: unused, as nothing in it is random.
    """

    def _line(self, x: Tensor, y: Tensor, numbers: Tensor) -> Line:  # noqa: ARG002
        return lambda rows, sigma: blurred(x[rows], sigma)


class GaussianNoise(LineSearch):
    """Adds Gaussian noise until it fools the model, and clips to [0, 1].

    The noise of an image is drawn once and scaled, so that a stronger one is the same one, louder.

    Args:
        estimator: as in `TorchAttack`.
        largest: largest standard deviation, in units of [0, 1] images.
        steps: number of standard deviations that are tried, the smallest first.
        targeted: reach `y` instead of leaving it.
        batch_size: images per evaluation of the model.
        seed: of the noise.
    """

    def _line(self, x: Tensor, y: Tensor, numbers: Tensor) -> Line:  # noqa: ARG002
        noise = normal(self.seed, (0,), numbers, x[0].numel()).view_as(x)
        return lambda rows, sigma: (x[rows] + sigma * noise[rows]).clamp_(0, 1)


class SaltAndPepper(LineSearch):
    """Turns pixels white or black, all channels at once and each half of the time, until it fools the model.

    Which pixels come first, and their colours, are drawn once for an image and repetition: what a smaller share
    replaces, a larger one replaces too. Of several repetitions the one counts that needs the smallest share.

    Args:
        estimator: as in `TorchAttack`.
        largest: largest share of the pixels, in (0, 1].
        steps: number of shares that are tried, the smallest first; each is rounded to whole pixels.
        repetitions: draws of pixels and colours for each image; Foolbox has 10.
        targeted: reach `y` instead of leaving it.
        batch_size: images per evaluation of the model.
        seed: of pixels and colours.

    Raises:
        AttackError: no repetition, or as in `LineSearch`.
    """

    attack_params: ClassVar[list[str]] = ["repetitions", *LineSearch.attack_params]

    def __init__(
        self,
        estimator: Any,
        largest: float,
        steps: int,
        repetitions: int = 1,
        targeted: bool = False,
        batch_size: int = 64,
        seed: int = 0,
    ) -> None:
        super().__init__(estimator, largest=largest, steps=steps, targeted=targeted, batch_size=batch_size, seed=seed)
        if repetitions < 1:
            raise AttackError(f"{type(self).__name__} needs repetitions >= 1, not {repetitions}.")
        self.repetitions = repetitions

    def _lines(self, x: Tensor, y: Tensor, numbers: Tensor) -> Sequence[Line]:  # noqa: ARG002
        return [self._drawn(x, numbers, repetition) for repetition in range(self.repetitions)]

    def _line(self, x: Tensor, y: Tensor, numbers: Tensor) -> Line:  # noqa: ARG002
        return self._drawn(x, numbers, 0)

    def _drawn(self, x: Tensor, numbers: Tensor, repetition: int) -> Line:
        n, _, height, width = x.shape
        pixels, use = height * width, 2 * repetition
        order = uniform(self.seed, (use,), numbers, pixels).argsort(dim=1, stable=True)
        # Short numbers, as all repetitions are held at once.
        place = order.argsort(dim=1).view(n, 1, height, width).int()
        white = (signs(self.seed, (use + 1,), numbers, pixels) > 0).view(n, 1, height, width)
        return lambda rows, share: torch.where(place[rows] < round(share * pixels), white[rows].to(x.dtype), x[rows])
