"""Paired and unpaired differences: exact where they claim to be, and covering as often as they say."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.stats import binom, binomtest

from pytest_robust.errors import SettingsError
from pytest_robust.evaluation.compare import PairedDifference, RateDifference, first_greater, paired_difference
from pytest_robust.evaluation.rate import Rate
from pytest_robust.evaluation.verdict import Verdict

discordant = st.tuples(st.integers(0, 60), st.integers(0, 60), st.integers(120, 400))


def difference(b: int, c: int, n: int) -> PairedDifference:
    return PairedDifference(b, c, n)


@given(discordant)
def test_p_values_are_exact_mcnemar(counts: tuple[int, int, int]) -> None:
    b, c, n = counts
    if b + c == 0:
        assert difference(b, c, n).p_first_greater == 1.0
        return
    assert difference(b, c, n).p_first_greater == pytest.approx(binomtest(b, b + c, alternative="greater").pvalue)
    assert difference(b, c, n).p_second_greater == pytest.approx(binomtest(c, b + c, alternative="greater").pvalue)


@given(discordant)
def test_interval_mirrors_and_holds_the_difference(counts: tuple[int, int, int]) -> None:
    b, c, n = counts
    d, mirrored = difference(b, c, n), difference(c, b, n)
    assert -1 <= d.lower <= d.value <= d.upper <= 1
    assert d.lower == pytest.approx(-mirrored.upper)


def slow_tango_score(b: int, c: int, n: int, delta: float) -> float:
    """The score statistic with the nuisance share found by maximising the likelihood numerically."""

    def minus_log_likelihood(q: float) -> float:
        p12, p21, rest = q + delta, q, 1 - 2 * q - delta
        if min(p12, p21, rest) <= 0:
            return 1e9
        return -(b * np.log(p12) + c * np.log(p21) + (n - b - c) * np.log(rest))

    low, high = max(0.0, -delta), (1 - delta) / 2
    q = minimize_scalar(minus_log_likelihood, bounds=(low, high), method="bounded", options={"xatol": 1e-12}).x
    return (b - c - n * delta) / np.sqrt(n * (2 * q + delta * (1 - delta)))


@pytest.mark.parametrize(("b", "c", "n"), [(12, 3, 50), (40, 38, 300), (5, 20, 120)])
def test_interval_ends_are_where_tangos_score_is_critical(b: int, c: int, n: int) -> None:
    d = difference(b, c, n)
    assert slow_tango_score(b, c, n, d.upper) == pytest.approx(-1.959964, abs=2e-3)
    assert slow_tango_score(b, c, n, d.lower) == pytest.approx(1.959964, abs=2e-3)


def test_no_discordance_is_not_certainty() -> None:
    d = difference(0, 0, 50)
    assert d.value == 0
    assert d.upper > 0.05
    assert first_greater(d).verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize("share", [0.05, 0.2])
def test_an_unchanged_model_is_called_different_in_at_most_one_in_twenty(share: float) -> None:
    """Exact, by summing the probability of every outcome in which the verdict is wrong."""
    n = 200
    wrong = 0.0
    for m in range(n + 1):
        weight = binom.pmf(m, n, share)
        if weight < 1e-12:
            continue
        bs = [b for b in range(m + 1) if first_greater(difference(b, m - b, n)).verdict is not Verdict.INCONCLUSIVE]
        wrong += weight * binom.pmf(bs, m, 0.5).sum()
    assert wrong <= 0.05


@given(st.integers(0, 2**32 - 1))
def test_paired_difference_counts_images(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    first, second = (torch.rand(2, 60, generator=generator) < 0.4).unbind()
    d = paired_difference(first, second)
    assert (d.first_only, d.second_only) == (int((first & ~second).sum()), int((second & ~first).sum()))
    assert d.value == pytest.approx(float(first.float().mean() - second.float().mean()), abs=1e-6)


def test_entries_that_share_an_original_vote_once() -> None:
    first = torch.tensor([True, True, True, False, False, True])
    second = torch.tensor([False, False, False, True, False, False])
    d = paired_difference(first, second, image=torch.tensor([0, 0, 1, 1, 2, 2]))
    assert (d.votes, d.n) == ((2, 0), 3)
    assert d.value == pytest.approx(0.5)
    assert d.lower < 0.5 < d.upper
    assert d.p_first_greater == 0.25


def test_pairs_must_be_pairs() -> None:
    with pytest.raises(SettingsError, match="same images"):
        paired_difference(torch.ones(3, dtype=torch.bool), torch.ones(4, dtype=torch.bool))


def test_verdict_says_how_many_images_would_tell() -> None:
    judged = first_greater(difference(12, 8, 400))
    assert judged.verdict is Verdict.INCONCLUSIVE
    needed = int(judged.reason.rsplit("about ", 1)[1].split()[0])
    assert first_greater(difference(12, 8, 400).at(needed)).verdict is Verdict.HOLDS
    assert first_greater(difference(12, 8, 400).at(needed // 2)).verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize(("p1", "p2"), [(0.9, 0.85), (0.99, 0.02), (0.5, 0.5)])
def test_two_sample_interval_covers(p1: float, p2: float) -> None:
    """Coverage by exact enumeration over both binomials."""
    n1, n2 = 60, 45
    covered = 0.0
    for k1 in range(n1 + 1):
        for k2 in range(n2 + 1):
            weight = binom.pmf(k1, n1, p1) * binom.pmf(k2, n2, p2)
            if weight > 1e-9:
                d = RateDifference(Rate(k1, n1), Rate(k2, n2))
                covered += weight * (d.lower <= p1 - p2 <= d.upper)
    assert covered >= 0.95
