"""SSIM against scikit-image and a window-by-window reference, and what holds for all images."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import structural_similarity
from torch import Tensor

from pytest_robust.errors import DataError
from pytest_robust.evaluation.ssim import ssim, window

seeds = st.integers(0, 2**31 - 1)


def images(n: int, channels: int, height: int, width: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Smooth images of 8 bits and their noisy copies."""
    generator = torch.Generator().manual_seed(seed)
    small = torch.rand(n, channels, 4, 4, generator=generator)
    x = torch.nn.functional.interpolate(small, (height, width), mode="bicubic").clamp(0, 1)
    noise = torch.randint(-9, 10, x.shape, generator=generator) / 255
    return (x * 255).round() / 255, (x + noise).clamp(0, 1)


def by_scikit_image(x: Tensor, y: Tensor) -> float:
    one, other = (t.double().permute(1, 2, 0).numpy() for t in (x, y))
    value = structural_similarity(
        one, other, channel_axis=2, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1.0
    )
    return float(value)


def slow_ssim(x: Tensor, y: Tensor) -> float:
    """Window by window, for images too small for scikit-image."""
    side = next(odd for odd in (11, 9, 7, 5, 3, 1) if odd <= min(x.shape[1:]))
    offsets = torch.arange(side) - side // 2
    weights = torch.exp(-(offsets[:, None] ** 2 + offsets[None] ** 2) / (2 * 1.5**2)).double()
    weights /= weights.sum()
    values = []
    for c, i, j in itertools.product(range(x.shape[0]), range(x.shape[1] - side + 1), range(x.shape[2] - side + 1)):
        a, b = (t[c, i : i + side, j : j + side].double() for t in (x, y))
        mean_a, mean_b = (weights * a).sum(), (weights * b).sum()
        variance_a, variance_b = (weights * (a - mean_a) ** 2).sum(), (weights * (b - mean_b) ** 2).sum()
        covariance = (weights * (a - mean_a) * (b - mean_b)).sum()
        luminance = (2 * mean_a * mean_b + 1e-4) / (mean_a**2 + mean_b**2 + 1e-4)
        values.append(float(luminance * (2 * covariance + 9e-4) / (variance_a + variance_b + 9e-4)))
    return sum(values) / len(values)


@pytest.mark.parametrize("shape", [(1, 11, 11), (3, 12, 15), (1, 28, 28), (3, 32, 32), (3, 97, 64), (3, 224, 224)])
def test_it_equals_scikit_images(shape):
    x, y = images(3, *shape)
    expected = [by_scikit_image(a, b) for a, b in zip(x, y, strict=True)]
    assert ssim(x, y).tolist() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 9, 14), (1, 10, 30), (1, 11, 11), (1, 2, 5), (1, 1, 1)])
def test_small_images_have_the_largest_odd_window_that_fits(shape):
    x, y = images(4, *shape)
    assert ssim(x, y).tolist() == pytest.approx([slow_ssim(a, b) for a, b in zip(x, y, strict=True)], abs=1e-10)


def test_the_window_is_that_of_wang_et_al():
    weights = window(224)
    assert len(weights) == 11
    assert float(weights.sum()) == pytest.approx(1)
    assert float(weights[5] / weights[8]) == pytest.approx(2.718281828**2, rel=1e-6)
    assert [len(window(side)) for side in (8, 9, 10, 11, 12)] == [7, 9, 9, 11, 11]


@settings(max_examples=40)
@given(seed=seeds, n=st.integers(0, 5), side=st.integers(3, 30), channels=st.sampled_from([1, 3]))
def test_it_is_symmetric_bounded_and_blind_to_the_batch(seed, n, side, channels):
    generator = torch.Generator().manual_seed(seed)
    x, y = (torch.rand(n, channels, side, side, generator=generator) for _ in range(2))
    values = ssim(x, y)
    assert values.shape == (n,)
    assert values.dtype == torch.float64
    assert bool((values.abs() <= 1 + 1e-12).all())
    assert torch.allclose(values, ssim(y, x), atol=1e-12)
    assert torch.equal(ssim(x, x), torch.ones(n, dtype=torch.float64))
    order = torch.randperm(n, generator=generator)
    assert torch.equal(values[order], ssim(x[order], y[order]))


@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_constant_images_are_compared_by_their_luminance(level):
    x, y = torch.full((1, 1, 16, 16), level), torch.full((1, 1, 16, 16), 0.25)
    luminance = (2 * level * 0.25 + 1e-4) / (level**2 + 0.25**2 + 1e-4)
    assert float(ssim(x, y)) == pytest.approx(luminance, abs=1e-9)
    assert float(ssim(x, x)) == 1


def test_many_images_at_once_equal_one_at_a_time():
    x, y = images(5000, 1, 8, 8)
    assert torch.equal(ssim(x, y)[::500], torch.cat([ssim(x[i : i + 1], y[i : i + 1]) for i in range(0, 5000, 500)]))


@pytest.mark.parametrize("other", [(2, 1, 8, 9), (3, 1, 8, 8), (2, 8, 8)])
def test_pairs_that_are_none_are_refused(other):
    with pytest.raises(DataError, match="pair by pair"):
        ssim(torch.zeros(2, 1, 8, 8), torch.zeros(other))
