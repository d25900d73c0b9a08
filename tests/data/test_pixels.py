"""8-bit pixels: the nearest ones of any image, and that an image file's come back to the bit."""

from __future__ import annotations

import torch

from pytest_robust.data.pixels import levels_of, split_from_bytes, to_8bit


def test_the_images_of_a_file_stay_as_they_are_to_the_bit():
    pixels = torch.arange(256, dtype=torch.uint8).view(1, 16, 16)
    x = split_from_bytes(pixels, torch.zeros(1), 1, "all levels").x
    assert torch.equal(to_8bit(x), x)
    assert levels_of(x).flatten().tolist() == list(range(256))


def test_others_become_the_nearest_levels():
    x = torch.rand(4, 3, 7, 7, generator=torch.Generator().manual_seed(0))
    near = to_8bit(x)
    assert float((near - x).abs().max()) <= 0.5 / 255 + 1e-7
    assert torch.equal(levels_of(near), levels_of(near).round())
    assert torch.equal(to_8bit(near), near)


def test_what_leaves_the_range_by_rounding_comes_back():
    assert levels_of(torch.tensor([-1e-4, 1 + 1e-4])).tolist() == [0, 255]
