"""Images as a study takes them: valid 8-bit pixels, read a chunk at a time.

A chunk knows its fingerprint before it is read, so that what the store holds already needs no image.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property

import torch
from torch import Tensor

from pytest_robust.data.images import Images
from pytest_robust.data.pixels import to_8bit
from pytest_robust.data.split import Split
from pytest_robust.store.fingerprint import fingerprint

#: Images in memory at a time.
CHUNK = 64


class EightBit:
    """The same images with every value rounded to a multiple of 1/255, as files hold them.

    Distances then count in pixel levels, and the original of an 8-bit adversarial image is an 8-bit image too.

    Args:
        images: what is rounded; photographs come back as they are.
        num_classes: how many classes there are, if the images show only some of them; None is as the images say.
    """

    def __init__(self, images: Images, num_classes: int | None = None) -> None:
        self._images = images
        self._num_classes = images.num_classes if num_classes is None else num_classes

    def __len__(self) -> int:
        return len(self._images)

    @property
    def name(self) -> str:
        """Where the images come from, for people."""
        return self._images.name

    @property
    def y(self) -> Tensor:
        """Labels, int64 of shape (N,)."""
        return self._images.y

    @property
    def num_classes(self) -> int:
        """How many classes the labels count."""
        return self._num_classes

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        return self._images.input_shape

    @cached_property
    def fingerprint(self) -> str:
        """Of the images, and that they are rounded; of the classes, if they are others than the images'."""
        more = [] if self._num_classes == self._images.num_classes else [self._num_classes]
        return fingerprint(["8-bit", self._images.fingerprint, *more])

    def subset(self, index: Tensor | Sequence[int]) -> EightBit:
        """Those at `index`, in that order."""
        return EightBit(self._images.subset(index), self._num_classes)

    def sample(self, size: int, seed: int) -> EightBit:
        """`size` images drawn without replacement."""
        return EightBit(self._images.sample(size, seed), self._num_classes)

    def chunks(self, size: int) -> Iterator[Split]:
        """All images in order, as splits in memory of at most `size` images."""
        parts = self._images.chunks(size)
        return (replace(part, x=to_8bit(part.x), num_classes=self._num_classes) for part in parts)


class Chunk:
    """Some of the images, read when first asked for.

    Args:
        images: all of them.
        positions: int64 of shape (n,): which of them.
    """

    def __init__(self, images: Images, positions: Tensor) -> None:
        self._images = images
        self._positions = positions

    def __len__(self) -> int:
        return len(self._positions)

    @cached_property
    def fingerprint(self) -> str:
        """Of the images and the positions; none is read for it."""
        return fingerprint(["chunk", self._images.fingerprint, self._positions.tolist()])

    @cached_property
    def split(self) -> Split:
        """The images themselves."""
        (read,) = self._images.subset(self._positions).chunks(len(self))
        return read


def chunks_of(images: Images, positions: Tensor, size: int = CHUNK) -> Iterator[Chunk]:
    """The images at `positions`, int64 of shape (N,), `size` at a time; no chunk is kept here."""
    return (Chunk(images, part) for part in positions.split(size) if len(part))


def drawn(positions: Tensor, limit: int | None, seed: int) -> Tensor:
    """The first `limit` of `positions` (all of them if None) in an order that `seed` gives.

    A smaller limit gives the beginning of a larger one's, so that scales share their chunks.
    """
    order = torch.randperm(len(positions), generator=torch.Generator().manual_seed(seed))
    return positions[order][: len(positions) if limit is None else limit]
