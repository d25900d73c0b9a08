"""Means and their differences agree with scipy's tests, count originals once, and cover what they estimate."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pytest_robust.errors import SettingsError
from pytest_robust.evaluation.mean import Mean, MeanDifference, mean_of, paired_mean_difference
from pytest_robust.evaluation.verdict import Verdict, above, at_most

numbers = st.lists(st.integers(-50, 50).map(float), min_size=6, max_size=40).filter(lambda v: len(set(v)) > 1)


@given(numbers, st.sampled_from([0.9, 0.95]))
def test_interval_is_students(values: list[float], confidence: float) -> None:
    mean = mean_of(torch.tensor(values), confidence=confidence)
    reference = stats.ttest_1samp(values, 0).confidence_interval(confidence)
    assert mean.value == pytest.approx(np.mean(values))
    assert (mean.lower, mean.upper) == (pytest.approx(reference.low), pytest.approx(reference.high))


@given(numbers, numbers)
def test_two_samples_are_welchs(first: list[float], second: list[float]) -> None:
    difference = MeanDifference(mean_of(torch.tensor(first)), mean_of(torch.tensor(second)))
    reference = stats.ttest_ind(first, second, equal_var=False).confidence_interval(0.95)
    assert (difference.lower, difference.upper) == (pytest.approx(reference.low), pytest.approx(reference.high))


@given(numbers, st.randoms(use_true_random=False))
def test_order_does_not_count(values: list[float], random) -> None:
    image = list(range(len(values)))
    shuffled = list(zip(values, image, strict=True))
    random.shuffle(shuffled)
    plain = mean_of(torch.tensor(values), torch.tensor(image) // 2)
    mixed = mean_of(torch.tensor([v for v, _ in shuffled]), torch.tensor([i for _, i in shuffled]) // 2)
    assert plain.value == pytest.approx(mixed.value)
    assert plain.standard_error == pytest.approx(mixed.standard_error)


@given(numbers, st.integers(2, 5))
def test_repeating_entries_tells_nothing_new(values: list[float], times: int) -> None:
    once = mean_of(torch.tensor(values))
    repeated = mean_of(torch.tensor(values).repeat(times), torch.arange(len(values)).repeat(times))
    assert (repeated.n, repeated.value) == (once.n, pytest.approx(once.value))
    assert repeated.standard_error == pytest.approx(once.standard_error)


@given(numbers, st.floats(0.1, 10))
def test_scales(values: list[float], by: float) -> None:
    assert mean_of(torch.tensor(values) * by).lower == pytest.approx(mean_of(torch.tensor(values)).lower * by, abs=1e-4)


def test_pairs_see_what_samples_cannot() -> None:
    generator = torch.Generator().manual_seed(0)
    base = 10 * torch.randn(50, generator=generator)
    more = base + 0.1 + 0.05 * torch.randn(50, generator=generator)
    assert above(paired_mean_difference(more, base), 0).verdict is Verdict.HOLDS
    assert above(MeanDifference(mean_of(more), mean_of(base)), 0).verdict is Verdict.INCONCLUSIVE


def test_interval_covers_the_true_mean_also_of_clusters() -> None:
    generator = torch.Generator().manual_seed(0)
    image = torch.arange(30).repeat_interleave(4)
    covered = 0
    for _ in range(400):
        shared = torch.randn(30, generator=generator)[image]
        mean = mean_of(shared + torch.randn(120, generator=generator), image)
        covered += mean.lower <= 0 <= mean.upper
    assert covered >= 366  # 95 % of 400, less three standard deviations


@pytest.mark.parametrize("n", [0, 1, 2, 5])
def test_too_few_images_decide_nothing(n: int) -> None:
    mean = mean_of(torch.ones(n))
    assert (mean.lower, mean.upper) == (-math.inf, math.inf)
    difference = MeanDifference(mean, mean_of(torch.zeros(50)))
    assert (difference.lower, difference.upper) == (-math.inf, math.inf)


def test_few_images_ask_for_more() -> None:
    judgement = above(mean_of(torch.tensor([1.0, 2.0, 1.5])), 0)
    assert judgement.verdict is Verdict.INCONCLUSIVE
    assert "at this figure about 6 would" in judgement.reason


def test_no_images_ask_for_nothing_that_would_tell() -> None:
    assert math.isnan(mean_of(torch.empty(0)).value)
    assert at_most(mean_of(torch.empty(0)), 1).verdict is Verdict.INCONCLUSIVE


def test_prints_as_people_read_it() -> None:
    assert str(Mean(0.5, 0.1, 101)) == "0.5 (95% CI 0.302 to 0.698, n=101)"


@pytest.mark.parametrize(
    ("values", "image", "message"),
    [
        (torch.tensor([1.0, math.nan]), None, "not finite"),
        (torch.zeros(3), torch.zeros(2), "as many originals"),
        (torch.zeros(3, 2), None, "shape"),
    ],
)
def test_what_cannot_be_averaged_is_refused(values, image, message) -> None:
    with pytest.raises(SettingsError, match=message):
        mean_of(values, image)


def test_pairs_must_match() -> None:
    with pytest.raises(SettingsError, match="same images, not 2 and 3"):
        paired_mean_difference(torch.zeros(2), torch.zeros(3))
