"""Flip and crop against a slow reference, image by image."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pytest_robust.models.augmentation import SHIFT, draw, flip_crop


def one_image(image: Tensor, flip: bool, down: int, right: int) -> Tensor:
    c, h, w = image.shape
    padded = torch.zeros(c, h + 2 * SHIFT, w + 2 * SHIFT)
    padded[:, SHIFT : SHIFT + h, SHIFT : SHIFT + w] = image
    window = padded[:, down : down + h, right : right + w]
    return window.flip(2) if flip else window


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_it_is_the_obvious_thing_for_every_image(memory_format: torch.memory_format) -> None:
    x = torch.rand(40, 3, 8, 6).to(memory_format=memory_format)
    flip, shift = draw(len(x), torch.Generator().manual_seed(1))
    changed = flip_crop(x, flip, shift)
    assert changed.is_contiguous(memory_format=torch.channels_last)
    for image, after, mirrored, (down, right) in zip(x, changed, flip.tolist(), shift.tolist(), strict=True):
        assert torch.equal(after, one_image(image, mirrored, down, right))


def test_the_centre_without_mirroring_is_the_image() -> None:
    x = torch.rand(3, 1, 5, 5)
    assert torch.equal(flip_crop(x, torch.zeros(3, dtype=torch.bool), torch.full((3, 2), SHIFT)), x)


def test_it_draws_every_change_and_the_same_ones_from_the_same_seed() -> None:
    flip, shift = draw(2000, torch.Generator().manual_seed(3))
    assert 800 < int(flip.sum()) < 1200
    assert shift.unique().tolist() == list(range(2 * SHIFT + 1))
    again = draw(2000, torch.Generator().manual_seed(3))
    assert torch.equal(again[0], flip)
    assert torch.equal(again[1], shift)
