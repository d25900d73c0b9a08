"""Squeezers: filters that take from an image what its class does not need (Xu, Evans & Qi 2018, arXiv:1704.01155).

Bit depth and median run in torch on the images' device. Non-local means is OpenCV's, as in the paper, on the CPU and
image by image; OpenCV is imported when a squeezer needs it, and installed with the extra ``squeezing``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pytest_robust.errors import SettingsError
from pytest_robust.store.fingerprint import source_fingerprint

#: From images, float32 (N, C, H, W) in [0, 1], to such images; each image apart from the others.
Squeezer = Callable[[Tensor], Tensor]

KNOWN = "bit_depth_B with B from 1 to 7, median_filter_2_2, median_filter_3_3, non_local_means_SEARCH_BLOCK_STRENGTH"


def squeezer(name: str) -> Squeezer:
    """The squeezer `name`, in the notation of the paper's code: "bit_depth_1", "median_filter_2_2".

    "non_local_means_13_3_2" searches 13×13 pixels, compares blocks of 3×3, with strength 2 in 8-bit grey levels.

    Raises:
        SettingsError: no such squeezer, or OpenCV is needed and not installed.
    """
    if found := re.fullmatch(r"bit_depth_([1-7])", name):
        return partial(reduce_bit_depth, bits=int(found[1]))
    if found := re.fullmatch(r"median_filter_([23])_\1", name):
        return partial(median_filter, size=int(found[1]))
    if found := re.fullmatch(r"non_local_means_([1-9]\d*)_([1-9]\d*)_([1-9]\d*)", name):
        search, block, strength = map(int, found.groups())
        _opencv()
        return partial(non_local_means, search=search, block=block, strength=strength)
    raise SettingsError(f"there is no squeezer {name!r}; it is one of: {KNOWN}.")


def reduce_bit_depth(x: Tensor, bits: int) -> Tensor:
    """Values rounded to 2^`bits` levels from 0 to 1 (section III.A)."""
    highest = 2**bits - 1
    squeezed: Tensor = (x * highest).round() / highest
    return squeezed


def median_filter(x: Tensor, size: int) -> Tensor:
    """The median of each `size`×`size` window, borders mirrored (section III.B); `size` is 2 or 3.

    Of an even number of values it is the larger of the middle two, and a 2×2 window ends at its pixel: as SciPy's
    ``median_filter``, which the paper used.
    """
    n, c, h, w = x.shape
    before, after = size // 2, (size - 1) // 2
    # At a border of one pixel, mirroring with the border pixel is repeating it.
    padded = F.pad(x, (before, after, before, after), mode="replicate")
    windows = F.unfold(padded.reshape(n * c, 1, *padded.shape[2:]), size)
    median: Tensor = windows.sort(dim=1).values[:, size * size // 2]
    return median.view(n, c, h, w)


def non_local_means(x: Tensor, search: int, block: int, strength: int) -> Tensor:
    """OpenCV's ``fastNlMeansDenoising`` of images rounded to 8 bits (section III.B); of three channels, its "Colored".

    Raises:
        SettingsError: images of neither one nor three channels, or OpenCV is not installed.
    """
    cv2 = _opencv()
    channels = x.shape[1]
    if channels not in (1, 3):
        raise SettingsError(f"non-local means takes images of one or three channels, not {channels}.")
    pixels = (x.detach() * 255).round().clamp(0, 255).byte().permute(0, 2, 3, 1).cpu().numpy()
    strengths = [strength] if channels == 1 else [strength, strength]
    denoise = cv2.fastNlMeansDenoising if channels == 1 else cv2.fastNlMeansDenoisingColored
    done = [torch.from_numpy(denoise(image, None, *strengths, block, search)).view(image.shape) for image in pixels]
    return (torch.stack(done).to(x).permute(0, 3, 1, 2) / 255) if done else x.clone()


def code_of(names: Sequence[str]) -> list[str]:
    """What the squeezers' results depend on: this module, and OpenCV's version where it is used."""
    versions = [str(_opencv().__version__)] if any(name.startswith("non_local_means") for name in names) else []
    return [*names, source_fingerprint(squeezer), *versions]


def _opencv() -> Any:
    try:
        import cv2
    except ImportError as error:
        raise SettingsError(
            "the squeezer non_local_means is OpenCV's, which is not installed: pip install 'pytest-robust[squeezing]', "
            "or choose other squeezers."
        ) from error
    return cv2
