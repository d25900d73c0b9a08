"""8-bit pixels, as every image file holds them: to a Split, and back to whole levels."""

from __future__ import annotations

import torch
from torch import Tensor

from pytest_robust.data.split import Split

#: The largest level of an 8-bit pixel.
WHITE = 255


def levels_of(x: Tensor) -> Tensor:
    """The nearest 8-bit levels of images in [0, 1]: whole numbers 0 … 255, in the dtype and shape of `x`."""
    return (x * WHITE).round().clamp_(0, WHITE)


def to_8bit(x: Tensor) -> Tensor:
    """The nearest images of 8-bit pixels, k / 255 with whole k; those of an image file stay as they are.

    Args:
        x: images in [0, 1], float32 of any shape.
    """
    return levels_of(x) / WHITE


def split_from_bytes(pixels: Tensor, labels: Tensor, num_classes: int, name: str, white: int = WHITE) -> Split:
    """A Split with ``pixels / white``.

    The conversion makes one float32 copy and divides in place: CIFAR-10 in float32 is 737 MB, and a second one hurts.

    Args:
        pixels: uint8 of shape (N, H, W) for grey images or (N, C, H, W), values 0 .. `white`.
        labels: any integer dtype, shape (N,).
        num_classes: how many classes the labels count.
        name: name of the split.
        white: the pixel value that becomes 1.0.

    Raises:
        DataError: what `Split` checks: shapes, values in [0, 1], labels in range.
    """
    if pixels.ndim == 3:
        pixels = pixels.unsqueeze(1)
    x = pixels.to(torch.float32, memory_format=torch.contiguous_format).div_(white)
    return Split(x, labels.to(torch.int64), num_classes, name)
