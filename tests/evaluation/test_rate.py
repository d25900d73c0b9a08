"""A Rate is the exact interval that it says it is, and compares like the number it is."""

from __future__ import annotations

import math
import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from pytest_robust.errors import SettingsError
from pytest_robust.evaluation.rate import MeanRate, Rate
from pytest_robust.evaluation.verdict import Verdict, at_least

counts = st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(counts, st.sampled_from([0.8, 0.95, 0.99]))
def test_interval_is_clopper_pearson(kn: tuple[int, int], confidence: float) -> None:
    k, n = kn
    rate = Rate(k, n, confidence)
    reference = binomtest(k, n).proportion_ci(confidence, method="exact")
    assert rate.lower == pytest.approx(reference.low, abs=1e-9)
    assert rate.upper == pytest.approx(reference.high, abs=1e-9)


@given(counts)
def test_interval_holds_the_value_and_stays_in_range(kn: tuple[int, int]) -> None:
    rate = Rate(*kn)
    assert 0 <= rate.lower <= rate.value <= rate.upper <= 1


@given(counts, counts)
def test_compares_like_its_value(a: tuple[int, int], b: tuple[int, int]) -> None:
    first, second = Rate(*a), Rate(*b)
    assert (first < second) == (a[0] / a[1] < b[0] / b[1])
    assert (first == second) == (a[0] / a[1] == b[0] / b[1])
    assert (first >= 0.5) == (a[0] / a[1] >= 0.5)


def test_prints_as_people_read_it() -> None:
    assert str(Rate(378, 1000)) == "0.378 (378/1000, 95% CI 0.348–0.409)"


def test_no_images_give_no_value_and_no_certainty() -> None:
    rate = Rate(0, 0)
    assert math.isnan(rate.value)
    assert (rate.lower, rate.upper) == (0.0, 1.0)


def test_shared_originals_widen_the_interval() -> None:
    mask = torch.arange(200) < 60
    alone, shared = Rate.of(mask), Rate.of(mask, independent=100)
    assert alone.value == shared.value
    assert shared.lower == pytest.approx(Rate(30, 100).lower)
    assert shared.upper - shared.lower > alone.upper - alone.lower


@pytest.mark.parametrize("clustered", [None, 200])
def test_advice_counts_what_was_counted(clustered: int | None) -> None:
    rate = Rate(300, 1700, independent=clustered)
    judged = at_least(rate, 0.165)
    assert judged.verdict is Verdict.INCONCLUSIVE
    advised = int(re.search("about ([0-9]+) would", judged.reason)[1])  # type: ignore[index]
    enough = Rate(300 / 1700 * advised, advised, independent=clustered and round(200 * advised / 1700))
    assert at_least(enough, 0.165)
    assert not at_least(rate.at(round(0.9 * advised)), 0.165)


@pytest.mark.parametrize(("k", "n", "confidence"), [(2, 1, 0.95), (-1, 5, 0.95), (1, 5, 1.0)])
def test_impossible_rates_are_refused(k: int, n: int, confidence: float) -> None:
    with pytest.raises(SettingsError, match="no rate"):
        Rate(k, n, confidence)


@given(st.lists(counts, min_size=1, max_size=5))
def test_mean_interval_holds_the_mean_and_is_wider_than_the_means_of_the_ends(kns: list[tuple[int, int]]) -> None:
    rates = [Rate(*kn) for kn in kns]
    mean = MeanRate(rates)
    assert mean.lower <= mean.value <= mean.upper
    assert mean.lower <= sum(r.lower for r in rates) / len(rates) + 1e-12
    assert mean.upper >= sum(r.upper for r in rates) / len(rates) - 1e-12
