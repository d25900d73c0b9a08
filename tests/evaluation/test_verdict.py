"""Verdicts are given on intervals: certain, or inconclusive with the number of images that would tell."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from pytest_robust.evaluation.rate import MeanRate, Rate
from pytest_robust.evaluation.verdict import Judgement, Verdict, above, at_least, at_most


@pytest.mark.parametrize(
    ("rate", "verdict"),
    [(Rate(1, 1000), Verdict.HOLDS), (Rate(60, 1000), Verdict.INCONCLUSIVE), (Rate(200, 1000), Verdict.FAILS)],
)
def test_at_most(rate: Rate, verdict: Verdict) -> None:
    assert at_most(rate, 0.05).verdict is verdict


@given(st.integers(1, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.floats(0.01, 0.99))
def test_at_least_mirrors_at_most(kn: tuple[int, int], threshold: float) -> None:
    k, n = kn
    assert at_least(Rate(k, n), threshold).verdict is at_most(Rate(n - k, n), 1 - threshold).verdict


@pytest.mark.parametrize("true_rate", [0.05, 0.0501, 0.2, 0.5])
def test_holds_is_wrong_in_at_most_one_in_forty(true_rate: float) -> None:
    """Exact: the chance that a rate above the threshold is said to hold."""
    n, threshold = 300, 0.05
    wrong = sum(
        binom.pmf(k, n, true_rate) for k in range(n + 1) if at_most(Rate(k, n), threshold).verdict is Verdict.HOLDS
    )
    assert wrong <= 0.025


def test_too_few_images_say_how_many_would_tell() -> None:
    judged = at_most(Rate(8, 200), 0.06)
    assert judged.verdict is Verdict.INCONCLUSIVE
    enough = int(judged.reason.rsplit("about ", 1)[1].split()[0])
    assert at_most(Rate(8, 200).at(enough), 0.06).verdict is Verdict.HOLDS
    assert at_most(Rate(8, 200).at(enough // 2), 0.06).verdict is Verdict.INCONCLUSIVE


def test_on_the_threshold_no_number_of_images_tells() -> None:
    assert "nor would any number" in above(Rate(50, 100), 0.5).reason


def test_mean_of_perfect_small_samples_is_still_uncertain() -> None:
    assert at_most(MeanRate([Rate(0, 40)] * 5), 0.05).verdict is Verdict.INCONCLUSIVE
    assert at_most(MeanRate([Rate(0, 5000)] * 5), 0.05).verdict is Verdict.HOLDS


@pytest.mark.parametrize("verdict", list(Verdict))
def test_a_judgement_is_true_only_if_it_holds(verdict: Verdict) -> None:
    assert bool(Judgement(verdict)) == (verdict is Verdict.HOLDS)
