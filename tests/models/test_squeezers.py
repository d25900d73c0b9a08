"""Squeezers against SciPy, against OpenCV called by hand, and by what they must leave alone."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import median_filter as scipy_median

from pytest_robust.errors import SettingsError
from pytest_robust.models.squeezers import median_filter, reduce_bit_depth, squeezer

try:  # here and not in a test, because its first import sets LD_LIBRARY_PATH
    import cv2
except ImportError:
    cv2 = None
needs_opencv = pytest.mark.skipif(cv2 is None, reason="OpenCV is not installed: pip install 'pytest-robust[squeezing]'")


def images(seed: int, channels: int = 1, size: tuple[int, int] = (6, 5)) -> torch.Tensor:
    return torch.rand(3, channels, *size, generator=torch.Generator().manual_seed(seed))


@given(st.integers(0, 2**31), st.sampled_from([2, 3]), st.sampled_from([1, 3]))
def test_the_median_is_scipys(seed: int, size: int, channels: int) -> None:
    x = images(seed, channels)
    expected = torch.from_numpy(scipy_median(x.numpy(), size=(1, 1, size, size), mode="reflect"))
    assert torch.equal(median_filter(x, size), expected)


@given(st.integers(0, 2**31), st.integers(1, 7))
def test_bit_depth_leaves_so_many_levels_and_moves_half_a_step_at_most(seed: int, bits: int) -> None:
    x = images(seed)
    squeezed = reduce_bit_depth(x, bits)
    levels = squeezed * (2**bits - 1)
    assert torch.allclose(levels, levels.round(), atol=1e-4)
    assert float((squeezed - x).abs().max()) <= 0.5 / (2**bits - 1) + 1e-6
    assert torch.equal(reduce_bit_depth(squeezed, bits), squeezed)


def test_one_bit_is_a_threshold_at_a_half() -> None:
    assert reduce_bit_depth(torch.tensor([0.0, 0.49, 0.51, 1.0]), 1).tolist() == [0, 0, 1, 1]


@needs_opencv
@pytest.mark.parametrize("channels", [1, 3])
def test_non_local_means_is_opencvs_on_each_image(channels: int) -> None:
    x = images(0, channels, (12, 12))
    got = squeezer("non_local_means_7_3_4")(x)
    for image, squeezed in zip(x, got, strict=True):
        pixels = (image * 255).round().byte().permute(1, 2, 0).numpy()
        if channels == 1:
            expected = cv2.fastNlMeansDenoising(pixels, None, 4, 3, 7)
        else:
            expected = cv2.fastNlMeansDenoisingColored(pixels, None, 4, 4, 3, 7)
        rows = torch.from_numpy(expected).view(12, 12, channels).permute(2, 0, 1)
        assert torch.allclose(squeezed, rows / 255)


@needs_opencv
def test_non_local_means_looks_at_each_image_once(monkeypatch: pytest.MonkeyPatch) -> None:
    denoise, seen = cv2.fastNlMeansDenoising, []

    def counted(image: np.ndarray, *rest: object) -> np.ndarray:
        seen.append(image)
        return denoise(image, *rest)

    monkeypatch.setattr(cv2, "fastNlMeansDenoising", counted)
    squeezer("non_local_means_7_3_4")(images(0, 1, (12, 12)))
    assert len(seen) == 3


@pytest.mark.parametrize(
    "name",
    [
        "bit_depth_1",
        "median_filter_2_2",
        "median_filter_3_3",
        pytest.param("non_local_means_5_3_4", marks=needs_opencv),
    ],
)
def test_squeezers_keep_shape_and_range_of_any_batch(name: str) -> None:
    squeeze, x = squeezer(name), images(1)
    squeezed = squeeze(x)
    assert squeezed.shape == x.shape
    assert squeezed.dtype == torch.float32
    assert float(squeezed.min()) >= 0
    assert float(squeezed.max()) <= 1
    assert torch.equal(squeeze(x[1:2]), squeezed[1:2])
    assert squeeze(x[:0]).shape == (0, *x.shape[1:])


@pytest.mark.parametrize("name", ["bit_depth_8", "bit_depth_0", "median_filter_2_3", "median_filter_4_4", "blur", ""])
def test_an_unknown_squeezer_is_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(SettingsError, match="bit_depth_B"):
        squeezer(name)


def test_a_missing_opencv_is_named_with_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(SettingsError, match=r"pip install 'pytest-robust\[squeezing\]'"):
        squeezer("non_local_means_13_3_2")
