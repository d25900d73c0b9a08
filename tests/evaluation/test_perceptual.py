"""PASS: what it forgives and what it does not, when it cannot align, and the metrics of an adversarial set."""

from __future__ import annotations

import itertools
import sys

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import structural_similarity
from torch import Tensor

import pytest_robust
from pytest_robust.attacks.adversarial_set import AdversarialSet
from pytest_robust.data.split import Split
from pytest_robust.errors import DataError, SettingsError
from pytest_robust.evaluation.alignment import align
from pytest_robust.evaluation.perceptual import pass_score, perceptual_metrics
from pytest_robust.evaluation.perturbation_stats import SIZES
from pytest_robust.evaluation.ssim import ssim

NAN = float("nan")
IMAGE_SIDES = [28, 32, 64, 224]


def scenes(n: int, channels: int, side: int, seed: int = 0) -> Tensor:
    """Images with structure at several scales, as photographs have."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.zeros(n, channels, side, side)
    for cells in (3, 6, 12):
        small = torch.rand(n, channels, cells, cells, generator=generator)
        x += torch.nn.functional.interpolate(small, (side, side), mode="bicubic") / 3
    return (x.clamp(0, 1) * 255).round() / 255


def noisy(x: Tensor, levels: int, seed: int = 1) -> Tensor:
    noise = torch.randint(-levels, levels + 1, x.shape, generator=torch.Generator().manual_seed(seed))
    return (x + noise / 255).clamp(0, 1)


def slow_pass(x: Tensor, x_adv: Tensor) -> float:
    """One pair, with OpenCV's own defaults where they matter and scikit-image's SSIM."""
    target, image = (t.permute(1, 2, 0).numpy() for t in (x, x_adv))
    grey = [t[:, :, 0] if t.shape[2] == 1 else cv2.cvtColor(t, cv2.COLOR_RGB2GRAY) for t in (target, image)]
    criteria = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 50, 1e-6)
    _, warp = cv2.findTransformECC(*grey, np.eye(3, dtype=np.float32), cv2.MOTION_HOMOGRAPHY, criteria, None, 5)
    aligned = cv2.warpPerspective(
        image, warp, target.shape[1::-1], flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE
    ).reshape(target.shape)
    value = structural_similarity(
        target.astype(float),
        aligned.astype(float),
        channel_axis=2,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=1.0,
    )
    return float(value)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("side", [32, 96])
def test_it_equals_the_slow_reference(side, channels):
    x = scenes(4, channels, side)
    moved = noisy(x.roll((1, -1), (2, 3)), 3)
    expected = [slow_pass(a, b) for a, b in zip(x, moved, strict=True)]
    assert bool(align(x, moved)[1].all())
    assert pass_score(x, moved).tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("side", IMAGE_SIDES)
def test_a_small_shift_barely_lowers_pass_and_lowers_ssim(side):
    x = scenes(4, 3, side)
    moved = x.roll(1 if side < 64 else 2, 3)
    score, plain = pass_score(x, moved), ssim(x, moved)
    assert float(score.min()) > 0.97
    assert bool((1 - score < 0.25 * (1 - plain)).all())


def test_more_noise_lowers_it():
    x = scenes(3, 3, 64)
    scores = [pass_score(x, noisy(x, levels)) for levels in (1, 4, 16, 64)]
    for less, more in itertools.pairwise(scores):
        assert bool((more < less).all())


@settings(max_examples=25)
@given(
    seed=st.integers(0, 2**31 - 1),
    n=st.integers(0, 4),
    side=st.sampled_from([8, 16, 28]),
    channels=st.sampled_from([1, 3]),
    levels=st.sampled_from([0, 2, 255]),
)
def test_what_holds_for_all_images(seed, n, side, channels, levels):
    x = scenes(n, channels, side, seed)
    other = noisy(x, levels, seed)
    scores, (brought, aligned) = pass_score(x, other), align(x, other)
    assert scores.shape == aligned.shape == (n,)
    assert brought.shape == x.shape
    assert bool((scores.abs() <= 1 + 1e-12).all())
    assert torch.equal(pass_score(x, x), torch.ones(n, dtype=torch.float64))
    # Where nothing was found the image stays, and PASS is SSIM.
    assert torch.equal(brought[~aligned], other[~aligned])
    assert torch.equal(scores[~aligned], ssim(x, other)[~aligned])
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    assert torch.equal(pass_score(x[order], other[order]), scores[order])


def correlation_gained(x: Tensor, other: Tensor) -> float:
    """By the search for one grey pair, both blurred; minus infinity where it raises an error."""
    target, image = (cv2.GaussianBlur(t.numpy(), (5, 5), 0) for t in (x, other))
    criteria = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 50, 1e-6)
    try:
        warp = cv2.findTransformECC(target, image, np.eye(3, dtype=np.float32), 3, criteria, None, 1)[1]
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        brought = cv2.warpPerspective(image, warp, x.shape[::-1], flags=flags, borderMode=cv2.BORDER_REPLICATE)
        return float(cv2.computeECC(target, brought) - cv2.computeECC(target, image))
    except cv2.error:
        return -np.inf


@pytest.mark.parametrize("levels", [5, 60])
def test_where_the_search_runs_away_the_image_stays_as_it_is(levels):
    """On 8 × 8 pixels it often does, and ends with less correlation than it began with."""
    x = scenes(60, 1, 8)
    other = noisy(x, levels)
    brought, aligned = align(x, other)
    gained = torch.tensor([correlation_gained(a, b) for a, b in zip(x[:, 0], other[:, 0], strict=True)])
    assert torch.equal(aligned, gained > -1e-6)
    assert torch.equal((brought == other).flatten(1).all(1), ~aligned)
    assert 0 < int(aligned.sum()) < 60
    assert float(gained[gained.isfinite()].min()) < -0.005


@pytest.mark.parametrize("channels", [1, 3])
def test_constant_images_cannot_be_aligned_and_have_their_ssim(channels):
    grey, white = torch.full((2, channels, 16, 16), 0.5), torch.ones(2, channels, 16, 16)
    x, other = torch.cat([grey, scenes(1, channels, 16)]), torch.cat([white, grey[:1]])
    assert align(x, other)[1].tolist() == [False] * 3
    assert torch.equal(pass_score(x, other), ssim(x, other))
    assert float(pass_score(grey, grey).min()) == 1
    assert bool(align(grey, grey)[1].all())


def test_the_number_of_threads_does_not_change_it():
    x = scenes(6, 3, 32)
    other, threads = noisy(x, 5), torch.get_num_threads()
    scores = []
    for count in (1, 3):
        torch.set_num_threads(count)
        scores.append(pass_score(x, other))
        assert torch.get_num_threads() == count
    torch.set_num_threads(threads)
    assert torch.equal(*scores)


def test_inputs_are_not_changed():
    x, other = scenes(2, 3, 32), noisy(scenes(2, 3, 32), 5)
    copies = x.clone(), other.clone()
    pass_score(x, other)
    assert torch.equal(x, copies[0])
    assert torch.equal(other, copies[1])


def adversarial(x: Tensor, other: Tensor) -> AdversarialSet:
    n = len(x)
    success = torch.arange(n) % 2 == 0
    return AdversarialSet(Split(x, torch.zeros(n, dtype=torch.int64), 2), other, success, torch.zeros(n).bool())


def test_the_metrics_of_a_set_are_of_every_image():
    x = torch.cat([scenes(3, 1, 16), torch.full((1, 1, 16, 16), 0.5)])
    other = noisy(x, 6)
    metrics = perceptual_metrics(adversarial(x, other))
    assert list(metrics) == ["pass", "ssim", *SIZES, "aligned"]
    assert torch.equal(metrics["pass"], pass_score(x, other))
    assert torch.equal(metrics["ssim"], ssim(x, other))
    assert not bool(metrics["aligned"][3])
    delta = (other.double() - x.double()).flatten(1)
    expected = {
        "l0": (delta != 0).sum(1).double(),
        "l1": delta.abs().sum(1),
        "l2": delta.square().sum(1).sqrt(),
        "linf": delta.abs().amax(1),
        "mse": delta.square().mean(1),
    }
    for name, values in expected.items():
        assert torch.allclose(metrics[name], values, rtol=1e-5, atol=1e-9), name
        assert metrics[name].dtype == torch.float64


def test_a_set_without_images_has_metrics_without_values():
    x = torch.empty(0, 3, 32, 32)
    assert {len(values) for values in perceptual_metrics(adversarial(x, x)).values()} == {0}


def test_other_shapes_and_channels_are_refused():
    with pytest.raises(DataError, match="pair by pair"):
        pass_score(torch.zeros(2, 1, 8, 8), torch.zeros(1, 1, 8, 8))
    with pytest.raises(SettingsError, match="one or three channels, not 2"):
        pass_score(torch.zeros(1, 2, 8, 8), torch.zeros(1, 2, 8, 8))


GREY = torch.full((2, 3, 16, 16), 0.5)


@pytest.mark.parametrize("measure", [ssim, pass_score])
@pytest.mark.parametrize(
    ("images", "sentence"),
    [
        (GREY * 255, r"not from 128 to 128: .*divide levels of 0 to 255 by 255"),
        ((GREY * 255).byte(), r"not as torch\.uint8: divide levels of 0 to 255 by 255"),
        (4 * GREY - 3, r"not from -1 to -1: undo a normalisation"),
        (GREY * NAN, "not from nan to nan"),
        (GREY.numpy(), r"not as ndarray: write torch\.as_tensor"),
    ],
)
def test_images_of_another_range_or_type_are_refused(measure, images, sentence):
    for pair in ((GREY, images), (images, GREY), (images, images)):
        with pytest.raises(DataError, match=sentence):
            measure(*pair)


def test_rounding_at_the_ends_of_the_range_is_none_of_the_users_business():
    white = torch.ones(1, 1, 8, 8)
    assert float(ssim(white, white + 1e-6)) == pytest.approx(1)
    assert ssim(white.half(), white.double()).tolist() == [1]


def test_two_tensors_are_no_adversarial_set():
    with pytest.raises(SettingsError, match=r"takes an AdversarialSet .*, not a tuple: .* pass_score and ssim"):
        perceptual_metrics((GREY, GREY))


def test_a_missing_opencv_is_named_with_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(SettingsError, match=r"pip install 'pytest-robust\[perceptual\]'"):
        pass_score(torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 8, 8))
    assert float(ssim(torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 8, 8))) == 1


def test_they_are_public():
    assert pytest_robust.pass_score is pass_score
    assert pytest_robust.perceptual_metrics is perceptual_metrics
    assert pytest_robust.ssim is ssim
