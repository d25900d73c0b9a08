"""Alignment: the homography that brings an image onto another, by the enhanced correlation coefficient (ECC).

Evangelidis & Psarakis 2008, https://doi.org/10.1109/TPAMI.2008.113, as OpenCV has it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pytest_robust.errors import SettingsError
from pytest_robust.evaluation.ssim import check_pairs
from pytest_robust.models.threads import map_in_threads

#: The search stops after so many steps, or at a step that raises the coefficient by less; and it looks at images that
#: are blurred over so many pixels. 50 and 5 are OpenCV's own; it stops at 1e-3, which is more than most adversarial
#: perturbations cost *(our choice)*.
STEPS, LEAST_GAIN, BLUR = 50, 1e-6, 5

Image = NDArray[np.float32]


def align(x: Tensor, moved: Tensor) -> tuple[Tensor, Tensor]:
    """Each of the images `moved`, brought onto its partner in `x` by a homography, and whether that was found.

    The homography maximises the correlation of the grey images, from the identity on. Where the search does not
    converge, or ends with less correlation than it began with, the image stays as it is and counts as not aligned.
    Equal images are aligned. Pixels are interpolated linearly; those from outside repeat the border *(our choice)*.

    Args:
        x: the images that stay, float32 of shape (N, C, H, W) with C of 1 or 3, in [0, 1].
        moved: of the same shape.

    Returns:
        the moved images, float32 of the same shape, and bool of shape (N,).

    Raises:
        DataError: other shapes or values.
        SettingsError: images of neither one nor three channels, or OpenCV is not installed.
    """
    check_pairs(x, moved)
    if x.shape[1] not in (1, 3):
        raise SettingsError(f"images are aligned by OpenCV, which takes one or three channels, not {x.shape[1]}.")
    opencv()
    targets, images = (np.ascontiguousarray(t.detach().float().permute(0, 2, 3, 1).cpu().numpy()) for t in (x, moved))
    done = map_in_threads(_aligned, targets, images)
    if not done:
        return moved.clone(), torch.empty(0, dtype=torch.bool)
    brought = torch.from_numpy(np.stack([image for image, _ in done])).permute(0, 3, 1, 2).contiguous()
    return brought, torch.tensor([found for _, found in done])


def _aligned(target: Image, image: Image) -> tuple[Image, bool]:
    """One image (H, W, C)."""
    if np.array_equal(target, image):
        return image, True
    warp = _homography(_blurred_grey(target), _blurred_grey(image))
    return (image, False) if warp is None else (_warped(image, warp).reshape(image.shape), True)


def _blurred_grey(image: Image) -> Image:
    cv2 = opencv()
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) if image.shape[2] == 3 else image[:, :, 0]
    blurred: Image = cv2.GaussianBlur(grey, (BLUR, BLUR), 0)
    return blurred


def _warped(image: Image, warp: Image) -> Image:
    cv2 = opencv()
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    warped: Image = cv2.warpPerspective(image, warp, image.shape[1::-1], flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return warped


def _homography(target: Image, image: Image) -> Image | None:
    """From places in `target` to those in `image`, both blurred already; None if the search fails."""
    cv2 = opencv()
    criteria = cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, STEPS, LEAST_GAIN
    start = np.eye(3, dtype=np.float32)
    try:
        _, warp = cv2.findTransformECC(target, image, start, cv2.MOTION_HOMOGRAPHY, criteria, None, 1)
        # Not the coefficient that the search gives: that one leaves out the pixels which come from outside.
        before, after = cv2.computeECC(target, image), cv2.computeECC(target, _warped(image, warp))
    except cv2.error:
        return None
    return warp if np.isfinite(warp).all() and after > before - LEAST_GAIN else None


def opencv() -> Any:
    """OpenCV's module.

    Raises:
        SettingsError: it is not installed.
    """
    try:
        import cv2
    except ImportError as error:
        raise SettingsError(
            "PASS aligns images by OpenCV, which is not installed: pip install 'pytest-robust[perceptual]'."
        ) from error
    return cv2
