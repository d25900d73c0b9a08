"""Exact p-values against "the first rate exceeds the second by at most a margin", on one sample or on two.

McNemar's and Fisher's tests are exact because they condition on a count; with a margin there is none to condition on.
These tests are unconditional: the p-value is the greatest probability, over the unknown second share q, of a result
that speaks against the margin at least as clearly as the one seen. What counts as more clearly is the score statistic's
to say (Tango 1998 for pairs; Farrington & Manning, Statistics in Medicine 9, 1990, 1447–1454, for two samples), but the
probability is counted from binomials, so the test holds its level at any n.

q is searched for in its own exact interval, whose error is added to the p-value (Berger & Boos, Journal of the American
Statistical Association 89, 1994, 1012–1016), on a grid: the probability changes little from one point to the next.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtrc, betaln, xlog1py, xlogy

from pytest_robust.evaluation.compare import tango_score
from pytest_robust.evaluation.rate import Rate

#: Probability that the unknown share lies outside the interval it is searched in; every p-value is at least this.
BEYOND = 1e-5
#: Points of the search.
GRID = 48

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


def paired_p(b: int, c: int, n: int, margin: float) -> float:
    """P-value against "the first rate is at most `margin` greater", both measured on the same images.

    Args:
        b: images where only the first is true.
        c: images where only the second is true.
        n: all images.
        margin: in [0, 1).
    """
    if b - c <= n * margin:
        return 1.0
    seen = float(tango_score(b, c, n, margin))
    q, counts = _search(c, n)
    fewest = _fewest(lambda first: tango_score(first, counts, n, margin) >= seen - 1e-9, n - counts)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(q < 1, np.minimum((q + margin) / (1 - q), 1.0), 1.0)  # of the images where c is not
    return _greatest_tail(q, counts, n, fewest, n - counts, share)


def two_sample_p(first: Rate, second: Rate, margin: float) -> float:
    """P-value against "the first rate is at most `margin` greater", measured on two independent samples.

    Args:
        first, second: with whole counts of independent images.
        margin: in [0, 1).
    """
    if first.n == 0 or second.n == 0 or first.value - second.value <= margin:
        return 1.0
    seen = float(_two_sample_score(first.k, first.n, second.k, second.n, margin))
    q, counts = _search(int(second.k), second.n)
    fewest = _fewest(
        lambda k: _two_sample_score(k, first.n, counts, second.n, margin) >= seen - 1e-9,
        np.full_like(counts, first.n),
    )
    return _greatest_tail(q, counts, second.n, fewest, np.full_like(counts, first.n), np.minimum(q + margin, 1.0))


def _search(k: int, n: int) -> tuple[Floats, Integers]:
    """Shares q that k of n leaves possible, and the counts that occur at any of them (others: in 1e-9 of cases)."""
    interval = Rate(k, n, 1 - BEYOND)
    q = np.linspace(interval.lower, interval.upper, GRID)
    spread = 7 * math.sqrt(n * 0.25 if interval.lower < 0.5 < interval.upper else n * float((q * (1 - q)).max())) + 25
    low, high = max(0, math.floor(n * interval.lower - spread)), min(n, math.ceil(n * interval.upper + spread))
    return q, np.arange(low, high + 1)


def _fewest(clear: Callable[[Floats], Any], most: Integers) -> Integers:
    """For each entry the fewest first counts in 0 … `most` that are `clear`, by bisection; `most` + 1 if none is."""
    low, high = np.full_like(most, -1), most + 1
    while (high - low > 1).any():
        middle = (low + high) // 2
        yes = clear(middle.astype(float)) & (middle >= 0)
        low, high = np.where(yes, low, middle), np.where(yes, middle, high)
    return high


def _greatest_tail(q: Floats, counts: Integers, n: int, fewest: Integers, of: Integers, share: Floats) -> float:
    """Greatest over q of P(first count ≥ fewest(second count)), where the second count ~ Binomial(n, q).

    Args:
        q, share: of shape (Q,): the second share, and the share of the first count's binomial at it.
        counts, fewest, of: of shape (C,): second counts, the fewest first counts that are clear, and of how many.
    """
    log_choose = -math.log(n + 1) - betaln(counts + 1, n - counts + 1)
    weight = np.exp(log_choose + xlogy(counts, q[:, None]) + xlog1py(n - counts, -q[:, None]))
    tail = np.where(fewest > of, 0.0, np.where(fewest <= 0, 1.0, _at_least(fewest, of, share[:, None])))
    return min(1.0, float((weight * tail).sum(1).max()) + BEYOND)


def _at_least(k: Integers, n: Integers, share: Floats) -> Any:
    """P(X ≥ k) for X ~ Binomial(n, share), for 1 ≤ k ≤ n; anything elsewhere."""
    return bdtrc(np.clip(k - 1, 0, np.maximum(n - 1, 0)).astype(float), n, share)


def _two_sample_score(k1: Any, n1: int, k2: Any, n2: int, margin: float) -> Any:
    """Farrington and Manning's score statistic of k1 of n1 against k2 of n2; arrays broadcast.

    The two shares that are likeliest if they differ by the margin solve a cubic equation; this is its closed form.
    """
    p1, p2, theta = np.asarray(k1) / n1, np.asarray(k2) / n2, n2 / n1
    a = 1 + theta
    b = -(1 + theta + p1 + theta * p2 + margin * (theta + 2))
    c = margin * margin + margin * (2 * p1 + theta + 1) + p1 + theta * p2
    d = -p1 * margin * (1 + margin)
    v = (b / (3 * a)) ** 3 - b * c / (6 * a * a) + d / (2 * a)
    u = np.copysign(np.sqrt(np.maximum((b / (3 * a)) ** 2 - c / (3 * a), 0.0)), v)
    with np.errstate(divide="ignore", invalid="ignore"):
        w = (math.pi + np.arccos(np.clip(np.where(u == 0, 1.0, v / u**3), -1, 1))) / 3
        q1 = np.clip(2 * u * np.cos(w) - b / (3 * a), margin, 1)
        q2 = np.clip(q1 - margin, 0, 1)
        variance = q1 * (1 - q1) / n1 + q2 * (1 - q2) / n2
        excess = p1 - p2 - margin
        return np.where(excess == 0, 0.0, excess / np.sqrt(variance))
