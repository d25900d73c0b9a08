"""What a study takes: labelled images that can be had in parts, whether they lie in memory or in files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from pytest_robust.errors import DataError

if TYPE_CHECKING:
    from pytest_robust.data.split import Split


class Images(Protocol):
    """Labelled images; a `Split` has them in memory, an `ImageFolder` reads them when a chunk is asked for."""

    @property
    def name(self) -> str:
        """Where the images come from, for people."""

    @property
    def y(self) -> Tensor:
        """Labels, int64 of shape (N,); known without reading an image."""

    @property
    def num_classes(self) -> int:
        """How many classes the labels count."""

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""

    @property
    def fingerprint(self) -> str:
        """Equal fingerprints mean equal images and labels, in the same order."""

    def __len__(self) -> int: ...

    def subset(self, index: Tensor | Sequence[int]) -> Images:
        """The images at `index` (positions 0 .. N - 1, or a bool mask of shape (N,)), in that order."""

    def sample(self, size: int, seed: int) -> Images:
        """`size` images drawn without replacement, all of them if there are fewer; the same seed draws the same."""

    def chunks(self, size: int) -> Iterator[Split]:
        """All images in order, as splits in memory of at most `size` images."""


def random_subset(n: int, size: int, seed: int, where: str) -> tuple[Tensor, str]:
    """Positions of `size` of `n` images drawn without replacement, or of all; and what to call them.

    Raises:
        DataError: `size` is negative.
    """
    if size < 0:
        raise DataError(f"{where}: a sample of {size} images cannot be drawn; ask for 0 or more.")
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))[:size]
    return order, f"{where}[{min(size, n)} of {n}, seed {seed}]"


def chunk_ranges(n: int, size: int, where: str) -> list[range]:
    """The positions 0 .. n - 1 in order, in runs of `size`; the last may be shorter.

    Raises:
        DataError: `size` is not a positive number.
    """
    if size < 1:
        raise DataError(f"{where}: chunks of {size} images cannot be made; ask for 1 or more.")
    return [range(start, min(start + size, n)) for start in range(0, n, size)]
