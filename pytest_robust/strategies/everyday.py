"""Perturbations that a camera makes: brightness, contrast, rotation, translation, blur, occlusion.

Brightness, contrast and rotation are torchvision's (``adjust_brightness``, ``adjust_contrast``, ``rotate`` with
bilinear interpolation), in torch alone: to import torchvision takes seconds, which every run would pay.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from pytest_robust.attacks.blurring import blurred
from pytest_robust.errors import DataError
from pytest_robust.strategies.perturbation import Perturbation, check_number, check_whole

#: Shares of red, green and blue in the grey of a colour (ITU-R BT.601, as in torchvision).
LUMA = (0.2989, 0.587, 0.114)


@dataclass(frozen=True)
class Brightness(Perturbation):
    """Multiplies every value.

    Args:
        factor: 1 changes nothing, 0 makes black.

    Raises:
        SettingsError: it is negative or no number.
    """

    factor: float

    def __post_init__(self) -> None:
        check_number(self.factor, "the factor of Brightness", 0)

    def _changed(self, x: Tensor) -> Tensor:
        return x * self.factor


@dataclass(frozen=True)
class Contrast(Perturbation):
    """Moves every value away from the image's mean grey, or to it. For grey and RGB images.

    Args:
        factor: 1 changes nothing, 0 makes everything grey.

    Raises:
        SettingsError: it is negative or no number.
    """

    factor: float

    def __post_init__(self) -> None:
        check_number(self.factor, "the factor of Contrast", 0)

    def _changed(self, x: Tensor) -> Tensor:
        if self.factor == 1:  # not x to the last bit, by the formula
            return x.clone()
        if x.shape[1] not in (1, 3):
            raise DataError(f"Contrast: images of {x.shape[1]} channels have no grey value; it takes 1 or 3 channels.")
        grey = x if x.shape[1] == 1 else (x * x.new_tensor(LUMA).view(3, 1, 1)).sum(1, keepdim=True)
        return self.factor * x + (1 - self.factor) * grey.mean((1, 2, 3), keepdim=True)


@dataclass(frozen=True)
class Rotation(Perturbation):
    """Turns the image about its middle; what comes in at the corners is black.

    Args:
        degrees: counter-clockwise.

    Raises:
        SettingsError: it is no number.
    """

    degrees: float

    def __post_init__(self) -> None:
        check_number(self.degrees, "the angle of Rotation", -360, 360)

    def _changed(self, x: Tensor) -> Tensor:
        if self.degrees == 0:
            return x.clone()
        height, width = x.shape[2:]
        sine, cosine = math.sin(math.radians(self.degrees)), math.cos(math.radians(self.degrees))
        # In units of half the image, as the grid has them; the ratio keeps an oblong image from being sheared.
        turn = [[cosine, -sine * height / width, 0.0], [sine * width / height, cosine, 0.0]]
        grid = F.affine_grid(x.new_tensor(turn).expand(len(x), 2, 3), list(x.shape), align_corners=False)
        return F.grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


@dataclass(frozen=True)
class Translation(Perturbation):
    """Shifts the image by whole pixels; what comes in is black.

    Args:
        dx: pixels to the right.
        dy: pixels down.

    Raises:
        SettingsError: not whole numbers.
    """

    dx: int
    dy: int

    def __post_init__(self) -> None:
        check_whole(self.dx, "dx of Translation", -math.inf)
        check_whole(self.dy, "dy of Translation", -math.inf)

    def _changed(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        if abs(self.dx) >= width or abs(self.dy) >= height:
            return torch.zeros_like(x)
        return F.pad(x, (self.dx, -self.dx, self.dy, -self.dy))


@dataclass(frozen=True)
class Blur(Perturbation):
    """Gaussian blur, as the attack ``gaussian_blur`` has it.

    Args:
        sigma: standard deviation in pixels; 0 changes nothing.

    Raises:
        SettingsError: it is negative or no number.
    """

    sigma: float

    def __post_init__(self) -> None:
        check_number(self.sigma, "sigma of Blur", 0)

    def _changed(self, x: Tensor) -> Tensor:
        return blurred(x, self.sigma) if self.sigma else x.clone()


@dataclass(frozen=True)
class Occlusion(Perturbation):
    """Covers a square.

    Args:
        size: side of the square in pixels; it ends at the border of an image that is smaller.
        row, column: where it lies between the upper and the lower border, the left and the right one, in [0, 1].
        fill: value of the covered pixels, in [0, 1].

    Raises:
        SettingsError: a number that cannot be.
    """

    size: int
    row: float = 0.0
    column: float = 0.0
    fill: float = 0.5

    def __post_init__(self) -> None:
        check_whole(self.size, "the size of Occlusion", 0)
        for name in ("row", "column", "fill"):
            check_number(getattr(self, name), f"{name} of Occlusion", 0, 1)

    def _changed(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        top = round(self.row * max(0, height - self.size))
        left = round(self.column * max(0, width - self.size))
        covered = x.clone()
        covered[:, :, top : top + self.size, left : left + self.size] = self.fill
        return covered
