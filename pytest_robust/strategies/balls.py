"""Perturbations of bounded norm: patterns of blocks for L∞ and L2, a few pixels for L0."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from pytest_robust.errors import SettingsError
from pytest_robust.strategies.perturbation import Perturbation, check_number, check_whole, seeded


@dataclass(frozen=True)
class Linf(Perturbation):
    """Adds `size` or takes it away, block by block.

    Blocks, because neighbouring pixels that move together change a network's answer far more often than pixel noise.

    Args:
        size: the L∞ norm before clipping, in [0, 1].
        grid: blocks per side; each has its own sign for each channel. 1 makes whole channels brighter or darker.
        seed: of the signs.

    Raises:
        SettingsError: a number that cannot be.
    """

    size: float
    grid: int = 8
    seed: int = 0

    def __post_init__(self) -> None:
        check_number(self.size, "the size of Linf", 0, 1)
        check_whole(self.grid, "the grid of Linf", 1)
        check_whole(self.seed, "the seed of Linf", 0)

    def _changed(self, x: Tensor) -> Tensor:
        return x + self.size * _blocks(x, self.grid, self.seed)


@dataclass(frozen=True)
class L2(Perturbation):
    """Adds the pattern of `Linf`, scaled to a length.

    Args:
        size: the L2 norm before clipping, 0 or more.
        grid, seed: as in `Linf`.

    Raises:
        SettingsError: a number that cannot be.
    """

    size: float
    grid: int = 8
    seed: int = 0

    def __post_init__(self) -> None:
        check_number(self.size, "the size of L2", 0)
        check_whole(self.grid, "the grid of L2", 1)
        check_whole(self.seed, "the seed of L2", 0)

    def _changed(self, x: Tensor) -> Tensor:
        pattern = _blocks(x, self.grid, self.seed)
        scale = self.size / math.sqrt(pattern.numel())  # as every value of the pattern is 1 or -1
        return x + scale * pattern


@dataclass(frozen=True)
class L0(Perturbation):
    """Moves single pixels, all channels of one alike.

    Args:
        pixels: a tuple (row, column, change) each: the first two are shares of the height and the width, from 0 to
            less than 1, so that one perturbation fits images of every size; the change is in [-1, 1].

    Raises:
        SettingsError: a number that cannot be.
    """

    pixels: tuple[tuple[float, float, float], ...]

    def __post_init__(self) -> None:
        for pixel in self.pixels:
            if len(pixel) != 3:
                raise SettingsError(f"a pixel of L0 is (row, column, change), not {pixel!r}.")
            row, column, change = pixel
            if row == 1 or column == 1:
                raise SettingsError(f"the pixel {pixel!r} of L0 is beyond the image: row and column are less than 1.")
            check_number(row, "a row of L0", 0, 1)
            check_number(column, "a column of L0", 0, 1)
            check_number(change, "a change of L0", -1, 1)

    def _changed(self, x: Tensor) -> Tensor:
        moved, (height, width) = x.clone(), x.shape[2:]
        for row, column, change in self.pixels:
            moved[:, :, int(row * height), int(column * width)] += change
        return moved


def _blocks(x: Tensor, grid: int, seed: int) -> Tensor:
    """Signs, one for each block and channel, of shape (1, C, H, W)."""
    height, width = x.shape[2:]
    signs = torch.randint(0, 2, (x.shape[1], grid, grid), generator=seeded(seed)).to(x) * 2 - 1
    return F.interpolate(signs[None], size=(height, width), mode="nearest")
