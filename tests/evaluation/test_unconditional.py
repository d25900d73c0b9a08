"""Exact tests with a margin keep their level at every share, and agree with slow references."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.stats import binom, multinomial

from pytest_robust.evaluation.compare import tango_score
from pytest_robust.evaluation.rate import Rate
from pytest_robust.evaluation.unconditional import BEYOND, _two_sample_score, paired_p, two_sample_p


def slow_paired_p(b: int, c: int, n: int, margin: float) -> float:
    """Greatest trinomial probability of all tables that score as high, over a fine grid of shares."""
    tables = np.array([(i, j, n - i - j) for i in range(n + 1) for j in range(n + 1 - i)])
    clear = tables[tango_score(tables[:, 0], tables[:, 1], n, margin) >= tango_score(b, c, n, margin) - 1e-9]
    return max(
        float(multinomial.pmf(clear, n, [q + margin, q, 1 - 2 * q - margin]).sum())
        for q in np.linspace(0, (1 - margin) / 2, 301)
    )


@pytest.mark.parametrize(
    ("b", "c", "n", "margin"), [(9, 2, 30, 0.0), (9, 2, 30, 0.05), (6, 0, 40, 0.02), (12, 5, 25, 0.1)]
)
def test_paired_p_is_the_greatest_probability_of_what_is_as_clear(b: int, c: int, n: int, margin: float) -> None:
    slow = slow_paired_p(b, c, n, margin)
    assert paired_p(b, c, n, margin) <= slow + 2 * BEYOND  # the search leaves out shares that c excludes
    assert paired_p(b, c, n, margin) >= 0.9 * slow


def slow_two_sample_p(k1: int, n1: int, k2: int, n2: int, margin: float) -> float:
    first, second = np.meshgrid(np.arange(n1 + 1), np.arange(n2 + 1), indexing="ij")
    clear = _two_sample_score(first, n1, second, n2, margin) >= _two_sample_score(k1, n1, k2, n2, margin) - 1e-9
    return max(
        float((binom.pmf(first, n1, q + margin) * binom.pmf(second, n2, q))[clear].sum())
        for q in np.linspace(0, 1 - margin, 301)
    )


@pytest.mark.parametrize(
    ("k1", "n1", "k2", "n2", "margin"), [(28, 30, 20, 30, 0.0), (38, 40, 20, 30, 0.1), (9, 25, 2, 40, 0.05)]
)
def test_two_sample_p_is_the_greatest_probability_of_what_is_as_clear(
    k1: int, n1: int, k2: int, n2: int, margin: float
) -> None:
    slow = slow_two_sample_p(k1, n1, k2, n2, margin)
    fast = two_sample_p(Rate(k1, n1), Rate(k2, n2), margin)
    assert 0.9 * slow <= fast <= slow + 2 * BEYOND


@pytest.mark.parametrize("margin", [0.0, 0.01, 0.1])
@pytest.mark.parametrize(
    ("k1", "n1", "k2", "n2"), [(28, 30, 20, 30), (9, 40, 2, 33), (30, 30, 20, 30), (14, 30, 3, 90)]
)
def test_two_sample_score_uses_the_likeliest_shares(k1: int, n1: int, k2: int, n2: int, margin: float) -> None:
    def minus_log_likelihood(q: float) -> float:
        return -float(binom.logpmf(k1, n1, q + margin) + binom.logpmf(k2, n2, q))

    bounds = (1e-9, 1 - margin - 1e-9)
    q2 = minimize_scalar(minus_log_likelihood, bounds=bounds, method="bounded", options={"xatol": 1e-12}).x
    q1 = q2 + margin
    slow = (k1 / n1 - k2 / n2 - margin) / np.sqrt(q1 * (1 - q1) / n1 + q2 * (1 - q2) / n2)
    assert float(_two_sample_score(k1, n1, k2, n2, margin)) == pytest.approx(slow, abs=1e-4)


@pytest.mark.parametrize("margin", [0.0, 0.02, 0.1])
@pytest.mark.parametrize("gained", [0.0, 0.01, 0.1, 0.3])
def test_paired_test_keeps_its_level(margin: float, gained: float) -> None:
    """Exact, by summing the probability of every table in which a drop of exactly the margin is called greater."""
    n = 40
    for level in (0.05, 0.0025):
        wrong = sum(
            float(multinomial.pmf([b, c, n - b - c], n, [gained + margin, gained, 1 - 2 * gained - margin]))
            for c in range(n + 1)
            for b in range(c, n + 1 - c)
            if b - c > n * margin and paired_p(b, c, n, margin) <= level
        )
        assert wrong <= level


@pytest.mark.parametrize("margin", [0.0, 0.05])
@pytest.mark.parametrize("rate", [0.02, 0.3, 0.5, 0.9])
def test_two_sample_test_keeps_its_level(margin: float, rate: float) -> None:
    n1, n2 = 30, 22
    level = 0.05
    wrong = sum(
        float(binom.pmf(k1, n1, rate + margin) * binom.pmf(k2, n2, rate))
        for k1 in range(n1 + 1)
        for k2 in range(n2 + 1)
        if two_sample_p(Rate(k1, n1), Rate(k2, n2), margin) <= level
    )
    assert wrong <= level


@given(st.integers(0, 60), st.integers(0, 60), st.integers(120, 4000), st.floats(0, 0.2))
def test_more_losses_and_a_smaller_margin_speak_louder(b: int, c: int, n: int, margin: float) -> None:
    p = paired_p(b, c, n, margin)
    assert BEYOND <= p <= 1
    assert paired_p(b + 1, c, n, margin) <= p
    assert paired_p(b, c, n, min(margin + 0.05, 0.9)) >= p - BEYOND


@pytest.mark.parametrize("n", [1, 10, 10_000])
def test_extremes_are_no_trouble(n: int) -> None:
    assert paired_p(0, 0, n, 0.0) == 1.0
    assert two_sample_p(Rate(0, n), Rate(n, n), 0.0) == 1.0
    assert 0 < paired_p(n, 0, n, 0.01) <= 0.5
    assert 0 < two_sample_p(Rate(n, n), Rate(0, n), 0.01) <= 0.5
    assert two_sample_p(Rate(0, 0), Rate(n, n), 0.0) == 1.0
