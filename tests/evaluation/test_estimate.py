"""Estimates: medians with exact intervals, and figures that come back from JSON as they were."""

from __future__ import annotations

import json
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from pytest_robust.errors import SettingsError
from pytest_robust.evaluation.estimate import Estimate, estimated_mean, from_plain, median_of, to_plain
from pytest_robust.evaluation.mean import mean_of
from pytest_robust.evaluation.rate import Rate


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40))
def test_median_lies_inside_and_its_interval_covers_by_the_binomial_distribution(values: list[float]) -> None:
    found = median_of(torch.tensor(values, dtype=torch.float64))
    ordered, n = sorted(values), len(values)
    assert found.lower <= found.value <= found.upper
    assert found.value == pytest.approx((ordered[(n - 1) // 2] + ordered[n // 2]) / 2)
    if n < 6:
        assert (found.lower, found.upper) == (-math.inf, math.inf)
        return
    # The slow way: the narrowest symmetric pair of order statistics that still covers.
    k = max(k for k in range(1, n // 2 + 1) if 2 * binom.cdf(k - 1, n, 0.5) <= 0.05 + 1e-15)
    assert (found.lower, found.upper) == (ordered[k - 1], ordered[n - k])


def test_median_interval_covers_in_simulation() -> None:
    generator = torch.Generator().manual_seed(0)
    draws = torch.rand(2000, 21, generator=generator).double().exp()
    intervals = [median_of(row) for row in draws]
    covered = sum(i.lower <= math.exp(0.5) <= i.upper for i in intervals) / len(intervals)
    assert covered >= 0.95 - 3 * math.sqrt(0.05 * 0.95 / 2000)


def test_no_values_have_no_median() -> None:
    assert median_of(torch.empty(0)).value != median_of(torch.empty(0)).value
    assert median_of(torch.empty(0)).n == 0


@pytest.mark.parametrize(
    "figure",
    [Rate(3, 10), estimated_mean(mean_of(torch.arange(9.0))), Estimate(math.nan, -math.inf, math.inf, 0, "none")],
    ids=["rate", "mean", "nothing"],
)
def test_figures_come_back_from_json(figure: Rate | Estimate) -> None:
    back = from_plain(json.loads(json.dumps(to_plain(figure), allow_nan=False)))
    assert type(back) is type(figure)
    assert str(back) == str(figure)


def test_other_data_are_refused() -> None:
    with pytest.raises(SettingsError, match="no figure"):
        from_plain({"mean": 3})


def test_an_interval_shrinks_with_the_root_of_the_images() -> None:
    four_times = Estimate(1.0, 0.6, 1.2, 25, "any").at(100)
    assert (four_times.lower, four_times.upper, four_times.n) == (pytest.approx(0.8), pytest.approx(1.1), 100)
