"""The Gaussian blur of images, apart from the attack that searches it: who only blurs need not import ART."""

from __future__ import annotations

import math

import torch
from torch import Tensor

#: The blur's kernel ends this many standard deviations from its middle.
TRUNCATE = 4.0


def blurred(x: Tensor, sigma: float) -> Tensor:
    """Images `x` of shape (N, C, H, W) under a Gaussian blur of `sigma` pixels, as `GaussianBlur` describes it."""
    rows, columns = (_blur_matrix(size, sigma).to(x) for size in x.shape[2:])
    return (rows @ x @ columns.T).clamp_(0, 1)


def _blur_matrix(size: int, sigma: float) -> Tensor:
    """The blur of a line of `size` pixels as a matrix, float64 of shape (size, size), mirrored as often as needed."""
    radius = math.floor(TRUNCATE * sigma + 0.5)
    offsets = torch.arange(-radius, radius + 1)
    kernel = torch.exp(-0.5 * (offsets.double() / sigma).square())
    period = max(1, 2 * (size - 1))
    sources = (torch.arange(size)[:, None] + offsets) % period
    sources = torch.minimum(sources, period - sources) % size
    weights = (kernel / kernel.sum()).expand(size, -1)
    return torch.zeros(size, size, dtype=torch.float64).scatter_add_(1, sources, weights)
