"""SSIM of pairs of images, exact in float64 and fast (Wang et al. 2004, https://doi.org/10.1109/TIP.2003.819861)."""

from __future__ import annotations

import torch
from torch import Tensor

from pytest_robust.errors import DataError
from pytest_robust.models.threads import map_in_threads

#: The window of Wang et al.: Gaussian weights of this standard deviation on 11 × 11 pixels, where that many are there.
SIGMA, WINDOW = 1.5, 11
#: Their K₁ and K₂, squared, for images in [0, 1].
C1, C2 = 0.01**2, 0.03**2
#: Values of a chunk of images, at most: what is made of them fits a CPU's caches. 16 images of 224 × 224 at a time take
#: five times as long as one after the other.
CHUNK = 1 << 17
#: What interpolation and an attack's arithmetic in float32 may add to the ends of [0, 1].
ROUNDING = 1e-4


def ssim(x: Tensor, y: Tensor) -> Tensor:
    """Structural similarity of each pair, in [-1, 1] 1 for equal images; float64 of shape (N,), on the CPU.

    The mean over all windows that lie inside the image, and over the channels, of luminance × contrast × structure. It
    equals scikit-image's ``structural_similarity(gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
    data_range=1)``. Where a side is shorter than 11 pixels, the window is the largest odd one that fits, with the same
    Gaussian weights, scaled to a sum of 1 *(our choice)*; a side of 8 has windows of 7.

    Args:
        x, y: images in [0, 1], of shape (N, C, H, W) and a floating-point type.

    Raises:
        DataError: other shapes, or two different ones; values outside [0, 1], whole numbers, or no tensors.
    """
    check_pairs(x, y)
    size = max(1, CHUNK // max(1, x[0].numel())) if len(x) else 1
    parts = map_in_threads(_ssim, x.cpu().split(size), y.cpu().split(size))
    return torch.cat(parts) if parts else torch.empty(0, dtype=torch.float64)


def check_pairs(x: Tensor, y: Tensor) -> None:
    """Raise DataError unless both are floating-point images in [0, 1] of the same shape (N, C, H, W)."""
    for images in (x, y):
        _check_values(images)
    if x.ndim != 4 or x.shape != y.shape:
        raise DataError(
            f"images are compared pair by pair, both of shape (N, C, H, W), not {tuple(x.shape)} and {tuple(y.shape)}."
        )


def _check_values(images: object) -> None:
    if not isinstance(images, Tensor):
        raise DataError(
            f"images are compared as tensors, not as {type(images).__name__}: write torch.as_tensor(images)."
        )
    if not images.is_floating_point():
        raise DataError(f"images are compared in [0, 1], not as {images.dtype}: divide levels of 0 to 255 by 255.")
    if not images.numel():
        return
    low, high = (float(end) for end in images.detach().aminmax())
    if not -ROUNDING <= low <= high <= 1 + ROUNDING:  # NaN neither
        raise DataError(
            f"images are compared in [0, 1], not from {low:.3g} to {high:.3g}: undo a normalisation, and divide levels "
            "of 0 to 255 by 255."
        )


def window(shortest: int) -> Tensor:
    """Weights along one side of the window, float64, for images whose shorter side is `shortest`."""
    radius = min(WINDOW, shortest - 1 + shortest % 2) // 2
    weights = torch.exp(-0.5 * (torch.arange(-radius, radius + 1, dtype=torch.float64) / SIGMA) ** 2)
    return weights / weights.sum()


def _ssim(x: Tensor, y: Tensor) -> Tensor:
    x, y = x.detach().double(), y.detach().double()
    weights = window(min(x.shape[-2:])).tolist()
    # The variances are needed as their sum alone.
    means = _weighted(_weighted(torch.cat([x, y, x * x + y * y, x * y]), weights, 2), weights, 3)
    mean_x, mean_y, squares, products = means.chunk(4)
    both, lengths = mean_x * mean_y, mean_x.square() + mean_y.square()
    above = (2 * both + C1) * (2 * (products - both) + C2)
    below = (lengths + C1) * (squares - lengths + C2)
    return (above / below).mean((1, 2, 3))


def _weighted(images: Tensor, weights: list[float], dim: int) -> Tensor:
    """Weighted sums of neighbours along `dim`, where all are there: shifted images, added up."""
    length = images.shape[dim] - len(weights) + 1
    total = images.narrow(dim, 0, length) * weights[0]
    for shift, weight in enumerate(weights[1:], 1):
        total.add_(images.narrow(dim, shift, length), alpha=weight)
    return total
