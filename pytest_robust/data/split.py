"""A Split: images in [0, 1], their labels, and a fingerprint of both."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from pytest_robust.data.images import chunk_ranges, random_subset
from pytest_robust.errors import DataError

Kind = Literal["natural", "interpolated", "adversarial"]
INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


@dataclass(frozen=True, eq=False, repr=False)
class Split:
    """Labelled images.

    Args:
        x: images, float32 of shape (N, C, H, W), values in [0, 1].
        y: labels, int64 of shape (N,), each in 0 .. num_classes - 1.
        num_classes: how many classes the labels count.
        name: where the images come from, for people ("mnist/test").
        kind: how the images came to be; a training set that is free of adversarial examples has none of that kind.

    Raises:
        DataError: a wrong shape or dtype, a value that is not finite or outside [0, 1], a label out of range.
    """

    x: Tensor
    y: Tensor
    num_classes: int
    name: str = "unnamed"
    kind: Kind = "natural"

    def __post_init__(self) -> None:
        check_images(self.x, self.name)
        check_labels(self.y, len(self.x), self.num_classes, self.name)

    def __len__(self) -> int:
        return len(self.x)

    def __repr__(self) -> str:
        """Name, size and shape, and not the pixels."""
        return f"Split({self.name}: {len(self)} {self.kind} images {self.input_shape}, {self.num_classes} classes)"

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        c, h, w = self.x.shape[1:]
        return c, h, w

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the pixels, the labels and their shapes: equal images have equal fingerprints."""
        digest = hashlib.sha256(repr((tuple(self.x.shape), self.num_classes)).encode())
        for tensor in (self.x, self.y):
            digest.update(tensor.detach().cpu().reshape(-1).numpy().data)
        return digest.hexdigest()

    @cached_property
    def distinct(self) -> int:
        """How many different images there are: equal pixels count once, whatever their labels."""
        images = self.x.detach().cpu().contiguous().numpy()
        return len({hashlib.sha256(image.data).digest() for image in images})

    def subset(self, index: Tensor | Sequence[int], name: str | None = None) -> Split:
        """The images at `index` (positions 0 .. N - 1, or a bool mask of shape (N,)), in that order.

        Raises:
            DataError: a position that no image has, or a mask of another length.
        """
        picked = positions(index, len(self), self.name).to(self.x.device)
        return replace(self, x=self.x[picked], y=self.y[picked], name=name or self.name)

    def sample(self, size: int, seed: int) -> Split:
        """`size` images drawn without replacement, all of them if there are fewer; the same seed draws the same.

        Raises:
            DataError: `size` is negative.
        """
        return self.subset(*random_subset(len(self), size, seed, self.name))

    def chunks(self, size: int) -> Iterator[Split]:
        """All images in order, as splits of at most `size` images that share this one's memory.

        Raises:
            DataError: `size` is not a positive number.
        """
        for part in chunk_ranges(len(self), size, self.name):
            x, y = self.x[part.start : part.stop], self.y[part.start : part.stop]
            yield replace(self, x=x, y=y, name=f"{self.name}[{part.start}:{part.stop}]")

    def relabelled(self, label: int, num_classes: int) -> Split:
        """The same images, all with one label: how out-distribution images enter a dustbin class.

        Raises:
            DataError: `label` is not in 0 .. num_classes - 1.
        """
        return replace(self, y=torch.full_like(self.y, label), num_classes=num_classes)

    def to(self, device: torch.device | str) -> Split:
        """The same split with its tensors on `device`."""
        moved = replace(self, x=self.x.to(device), y=self.y.to(device))
        if "fingerprint" in vars(self):  # known, so it need not be fetched back from the device
            vars(moved)["fingerprint"] = self.fingerprint
        return moved


def positions(index: Tensor | Sequence[int], n: int, where: str) -> Tensor:
    """`index` (positions, or a bool mask of shape (n,)) as int64 positions among `n` images, checked.

    Raises:
        DataError: a position that no image has, a mask of another length, or something else.
    """
    picked = torch.as_tensor(index)
    if picked.dtype == torch.bool and picked.shape == (n,):
        return picked.nonzero().flatten()
    if picked.shape == (0,):
        return picked.to(torch.int64)  # an empty list reads as floats
    if picked.ndim != 1 or picked.dtype not in INTEGERS:
        raise DataError(
            f"{where}: an index must be integer positions or a bool mask of shape ({n},), "
            f"not {picked.dtype} of shape {tuple(picked.shape)}."
        )
    low, high = int(picked.min()), int(picked.max())
    if low < 0 or high >= n:
        raise DataError(f"{where}: positions run from {low} to {high}, but there are {n} images; count them from zero.")
    return picked.to(torch.int64)


def check_images(x: Tensor, where: str) -> None:
    """Raise DataError unless `x` is float32, (N, C, H, W), finite and inside [0, 1]."""
    if not isinstance(x, Tensor) or x.ndim != 4 or x.dtype != torch.float32:
        got = f"{x.dtype} of shape {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
        raise DataError(f"{where}: images must be a float32 tensor of shape (N, C, H, W), not {got}.")
    if len(x) == 0:
        return
    if x.numel() == 0:
        raise DataError(f"{where}: images of shape {tuple(x.shape)} have no pixels; C, H and W must be 1 or more.")
    low, high = (float(end) for end in torch.aminmax(x.detach()))
    if low >= 0.0 and high <= 1.0:
        return
    if not (math.isfinite(low) and math.isfinite(high)):  # a single NaN makes both ends NaN
        hint = "find where they become NaN or infinite"
    elif low >= 0 and high > 1.5:
        hint = f"divide by {'255' if 128 < high <= 255.5 else f'their largest possible value, {high:g} here?'}"
    else:
        hint = "undo any normalisation; it belongs into the model"
    raise DataError(f"{where}: images must be finite and in [0, 1], but run from {low:.4g} to {high:.4g}: {hint}.")


def check_labels(y: Tensor, n: int, num_classes: int, where: str) -> None:
    """Raise DataError unless `y` is int64, (n,), with every label in 0 .. num_classes - 1."""
    if not isinstance(y, Tensor) or y.dtype != torch.int64 or tuple(y.shape) != (n,):
        got = f"{y.dtype} of shape {tuple(y.shape)}" if isinstance(y, Tensor) else type(y).__name__
        raise DataError(f"{where}: labels must be an int64 tensor of shape ({n},), not {got}.")
    if n and not (int(y.min()) >= 0 and int(y.max()) < num_classes):
        raise DataError(
            f"{where}: labels must be in 0..{num_classes - 1}, but run from {int(y.min())} to {int(y.max())}: "
            "count classes from zero and check the number of classes."
        )
