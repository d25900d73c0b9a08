"""Perturbations: in their ball and range, of the image's shape, nothing at strength zero, and what torchvision does."""

from __future__ import annotations

import pickle

import pytest
import torch
import torchvision.transforms.functional as tv
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_robust import strategies as robust
from pytest_robust.errors import DataError, SettingsError

STRATEGIES = {
    "linf": robust.linf(8 / 255),
    "l2": robust.l2(0.5),
    "l0": robust.l0(5),
    "brightness": robust.brightness(1.5),
    "contrast": robust.contrast(0.5),
    "rotation": robust.rotation(30),
    "translation": robust.translation(4),
    "blur": robust.blur(2),
    "occlusion": robust.occlusion(5),
}
NOTHING = [
    robust.Linf(0.0, 4, 3),
    robust.L2(0.0),
    robust.L0(()),
    robust.L0(((0.5, 0.5, 0.0),)),
    robust.Brightness(1.0),
    robust.Contrast(1.0),
    robust.Rotation(0.0),
    robust.Translation(0, 0),
    robust.Blur(0.0),
    robust.Occlusion(0),
]


def images(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


# The default settings, health checks and number of examples included: this is what a user draws.
@pytest.mark.parametrize("name", STRATEGIES)
def test_it_is_an_image_of_the_same_shape_and_a_value(name):
    @given(STRATEGIES[name], st.sampled_from([(3, 32, 32), (1, 8, 8), (2, 3, 7, 5), (1, 1, 1)]))
    def check(perturbation, shape):
        image = images(*shape)
        before = image.clone()
        changed = perturbation.apply(image)
        assert changed.shape == image.shape
        assert changed.dtype == torch.float32
        assert float(changed.min()) >= 0
        assert float(changed.max()) <= 1
        assert torch.equal(image, before)
        assert torch.equal(changed, perturbation.apply(image))
        again = eval(repr(perturbation), vars(robust))
        assert again == perturbation == pickle.loads(pickle.dumps(perturbation))
        assert hash(again) == hash(perturbation)

    check()


@given(st.sampled_from([0.0, 8 / 255, 0.3, 1.0]).flatmap(lambda eps: st.tuples(st.just(eps), robust.linf(eps))))
def test_linf_stays_in_its_ball(drawn):
    eps, perturbation = drawn
    assert perturbation.norms(images(3, 32, 32))["linf"] <= eps + 1e-6


@given(st.sampled_from([0.0, 0.5, 3.0, 100.0]).flatmap(lambda eps: st.tuples(st.just(eps), robust.l2(eps))))
def test_l2_stays_in_its_ball_and_reaches_its_size_where_nothing_is_clipped(drawn):
    eps, perturbation = drawn
    assert perturbation.norms(images(3, 32, 32))["l2"] <= eps * (1 + 1e-5) + 1e-5
    if perturbation.size < 10:  # 10 of a length of √3072 moves a value by 0.18
        assert perturbation.norms(torch.full((3, 32, 32), 0.5))["l2"] == pytest.approx(perturbation.size, abs=1e-4)


@given(st.integers(0, 6).flatmap(lambda k: st.tuples(st.just(k), robust.l0(k))))
def test_l0_changes_so_many_pixels_at_most(drawn):
    k, perturbation = drawn
    image = images(3, 32, 32)
    assert int((perturbation.apply(image) != image).any(0).sum()) <= k
    assert perturbation.norms(image)["l0"] <= 3 * k


@given(robust.translation(3))
def test_a_translation_shifts_whole_pixels(perturbation):
    image = torch.zeros(1, 9, 11)
    image[0, 4, 5] = 1
    moved = perturbation.apply(image)
    assert moved[0].nonzero().tolist() == [[4 + perturbation.dy, 5 + perturbation.dx]]


@given(robust.occlusion(6, fill=0.25))
def test_an_occlusion_covers_its_square(perturbation):
    covered = perturbation.apply(torch.ones(2, 3, 9, 11)) == 0.25
    assert int(covered.sum()) == 6 * perturbation.size**2


def test_what_lies_outside_is_black_or_all_of_it():
    ones = torch.ones(1, 4, 4)
    assert not robust.Translation(4, 0).apply(ones).any()
    assert not robust.Translation(0, -9).apply(ones).any()
    assert robust.Occlusion(99, fill=0.0).apply(ones).sum() == 0


@pytest.mark.parametrize("perturbation", NOTHING, ids=lambda p: repr(p)[:12])
def test_strength_zero_is_the_image(perturbation):
    image = images(2, 3, 9, 8)
    assert torch.equal(perturbation.apply(image), image)
    assert perturbation.norms(image) == {"linf": 0, "l2": 0, "l0": 0}


@settings(max_examples=40)
@given(st.floats(-180, 180), st.floats(0, 3), st.sampled_from([(3, 9, 14), (1, 8, 8), (2, 3, 7, 5)]))
def test_brightness_contrast_and_rotation_are_torchvisions(degrees, factor, shape):
    image = images(*shape)
    bilinear = tv.InterpolationMode.BILINEAR
    expected = {
        robust.Brightness(factor): tv.adjust_brightness(image, factor),
        robust.Contrast(factor): tv.adjust_contrast(image, factor),
        robust.Rotation(degrees): tv.rotate(image, degrees, interpolation=bilinear),
    }
    for perturbation, wanted in expected.items():
        assert torch.allclose(perturbation.apply(image), wanted, atol=2e-4), perturbation


def test_norms_are_those_after_clipping_and_the_largest_of_a_batch():
    batch = torch.stack([torch.full((1, 2, 2), 0.9), torch.full((1, 2, 2), 0.5)])
    brighter = robust.Brightness(2.0)
    assert brighter.norms(batch[0]) == pytest.approx({"linf": 0.1, "l2": 0.2, "l0": 4})
    assert brighter.norms(batch) == pytest.approx({"linf": 0.5, "l2": 1.0, "l0": 4})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: robust.linf(8), "write 8/255"),
        (lambda: robust.linf(-0.1), "eps of linf is -0.1"),
        (lambda: robust.linf("8/255"), "eps of linf is '8/255'"),
        (lambda: robust.l2(float("nan")), "eps of l2 is nan"),
        (lambda: robust.l2(float("inf")), "infinite"),
        (lambda: robust.l0(1.5), "whole number"),
        (lambda: robust.l0("two"), "whole number"),
        (lambda: robust.translation(-1), "at least 0"),
        (lambda: robust.rotation(361), "at most 360"),
        (lambda: robust.occlusion(3, fill=2), "fill of occlusion is 2"),
        (lambda: robust.Brightness(-1), "factor of Brightness"),
        (lambda: robust.L0(((1.0, 0.0, 0.1),)), "less than 1"),
        (lambda: robust.L0(((0.0, 0.1),)), "is \\(row, column, change\\)"),
    ],
)
def test_numbers_that_cannot_be_are_refused(make, message):
    with pytest.raises(SettingsError, match=message):
        make()


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (torch.rand(8, 8), r"shape \(C, H, W\)"),
        ([[1]], "not list"),
        (torch.rand(1, 8, 8, dtype=torch.float64), "float32"),
        (torch.full((1, 8, 8), 200.0), "divide by 255"),
        (torch.full((1, 8, 8), float("nan")), "finite"),
    ],
)
def test_what_is_no_image_is_refused(image, message):
    with pytest.raises(DataError, match=message):
        robust.Linf(0.1).apply(image)


def test_contrast_needs_a_grey_value():
    with pytest.raises(DataError, match="takes 1 or 3 channels"):
        robust.Contrast(0.5).apply(torch.rand(2, 8, 8))
