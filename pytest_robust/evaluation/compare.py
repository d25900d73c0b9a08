"""Differences of two rates: paired on the same images (McNemar, Tango), or between two samples (Newcombe)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.special import betainc, ndtri
from torch import Tensor

from pytest_robust.errors import SettingsError
from pytest_robust.evaluation.rate import CONFIDENCE, Rate
from pytest_robust.evaluation.verdict import Judgement, Verdict, images_needed


@dataclass(frozen=True)
class PairedDifference:
    """First rate minus second rate, both measured on the same images.

    Args:
        first_only: images where only the first is true. Fractional where several entries share an image: then it is
            the sum over images of the share by which the first is true more often.
        second_only: images where only the second is true, likewise.
        n: all images.
        votes: images where the first is true more often, and where the second is; the exact test counts these. None
            where no images are shared, as they are then `first_only` and `second_only`.
        confidence: of the interval and of the verdict.
    """

    first_only: float
    second_only: float
    n: int
    votes: tuple[float, float] | None = None
    confidence: float = CONFIDENCE

    @property
    def value(self) -> float:
        """The difference."""
        return (self.first_only - self.second_only) / self.n if self.n else math.nan

    @cached_property
    def lower(self) -> float:
        """Lower end of Tango's score interval (Statistics in Medicine 17, 1998, 891–908)."""
        return -_tango_upper(self.second_only, self.first_only, self.n, self.confidence)

    @cached_property
    def upper(self) -> float:
        """Upper end of Tango's score interval."""
        return _tango_upper(self.first_only, self.second_only, self.n, self.confidence)

    @property
    def discordant(self) -> tuple[float, float]:
        """Images that speak for the first, and for the second."""
        return self.votes or (self.first_only, self.second_only)

    @property
    def p_first_greater(self) -> float:
        """Exact one-sided McNemar p-value against "the first rate is not greater"."""
        return _binomial_tail(self.discordant[0], sum(self.discordant))

    @property
    def p_second_greater(self) -> float:
        """Exact one-sided McNemar p-value against "the second rate is not greater"."""
        return _binomial_tail(self.discordant[1], sum(self.discordant))

    def at(self, n: int) -> PairedDifference:
        """The same shares of `n` images."""
        by = n / self.n if self.n else 0.0
        votes = None if self.votes is None else (self.votes[0] * by, self.votes[1] * by)
        return replace(self, first_only=self.first_only * by, second_only=self.second_only * by, n=n, votes=votes)

    def __str__(self) -> str:
        return f"{self.value:+.3f} ({self.confidence:.0%} CI {self.lower:+.3f} to {self.upper:+.3f}, n={self.n})"


def paired_difference(
    first: Tensor, second: Tensor, image: Tensor | None = None, confidence: float = CONFIDENCE
) -> PairedDifference:
    """Rate of `first` minus rate of `second` on the same images.

    Args:
        first, second: bool of shape (N,), in the same order of images.
        image: int64 of shape (N,): which original each entry was made from; entries that share one are counted
            as one image (it votes for whichever of the two is true more often), because they are not independent.
            Every image must have equally many entries.
        confidence: of the interval.
    """
    if first.shape != second.shape:
        raise SettingsError(f"paired rates need the same images, not {len(first)} and {len(second)} of them.")
    delta = first.cpu().long() - second.cpu().long()
    if image is None or len(image) == 0:
        return PairedDifference(int((delta > 0).sum()), int((delta < 0).sum()), len(delta), None, confidence)
    groups = image.cpu().unique(return_inverse=True)[1]
    n = int(groups.max()) + 1
    sums = torch.zeros(n, dtype=torch.long).index_add(0, groups, delta)
    votes = (int((sums > 0).sum()), int((sums < 0).sum()))
    each = len(delta) / n
    return PairedDifference(
        float(sums.clamp(min=0).sum()) / each, float(-sums.clamp(max=0).sum()) / each, n, votes, confidence
    )


def first_greater(difference: PairedDifference) -> Judgement:
    """Whether the first rate is greater: exact McNemar test, one-sided at half of 1 − confidence each way.

    Where several entries share an original, the interval of the difference must agree with the test.
    """
    alpha = (1 - difference.confidence) / 2

    def decided(d: object) -> bool:
        assert isinstance(d, PairedDifference)
        return min(d.p_first_greater, d.p_second_greater) <= alpha

    # Where entries share originals the test counts originals by their majority, which can differ from the rates: a
    # verdict then needs the rates' own interval as well.
    votes = difference.votes is not None
    if difference.p_first_greater <= alpha and not (votes and difference.lower <= 0):
        return Judgement(Verdict.HOLDS)
    if difference.p_second_greater <= alpha and not (votes and difference.upper >= 0):
        return Judgement(Verdict.FAILS, f"the order is reversed (exact McNemar p = {difference.p_second_greater:.2g})")
    enough = images_needed(difference, decided) if difference.discordant[0] != difference.discordant[1] else None
    reason = (
        f"{difference.n} images cannot tell the two apart ({difference.discordant[0]:g} against "
        f"{difference.discordant[1]:g} discordant)"
    )
    more = f"; at these shares about {enough} would" if enough else ""
    return Judgement(Verdict.INCONCLUSIVE, reason + more)


@dataclass(frozen=True)
class RateDifference:
    """First rate minus second rate, measured on two different samples: Newcombe's hybrid interval, on exact ends.

    Newcombe (Statistics in Medicine 17, 1998, 873–890, method 10) combines the two rates' own intervals; with
    Clopper–Pearson ends instead of Wilson's the result is a little wider and never short.
    """

    first: Rate
    second: Rate

    @property
    def value(self) -> float:
        """The difference."""
        return self.first.value - self.second.value

    @property
    def lower(self) -> float:
        """Lower end of the interval."""
        return self.value - math.hypot(self.first.value - self.first.lower, self.second.upper - self.second.value)

    @property
    def upper(self) -> float:
        """Upper end of the interval."""
        return self.value + math.hypot(self.first.upper - self.first.value, self.second.value - self.second.lower)

    @property
    def n(self) -> int:
        """Images in the smaller sample."""
        return min(self.first.n, self.second.n)

    def at(self, n: int) -> RateDifference:
        """The same shares, each of at least `n` images."""
        return RateDifference(self.first.at(max(n, self.first.n)), self.second.at(max(n, self.second.n)))

    def __str__(self) -> str:
        return f"{self.value:+.3f} ({self.first.confidence:.0%} CI {self.lower:+.3f} to {self.upper:+.3f})"


def _binomial_tail(k: float, n: float) -> float:
    """P(X ≥ k) for X ~ Binomial(n, ½), continued to fractional counts by the incomplete beta function."""
    return 1.0 if k <= 0 else float(betainc(k, n - k + 1, 0.5))


def _tango_upper(b: float, c: float, n: int, confidence: float) -> float:
    """Largest difference δ that Tango's score test does not reject, by bisection."""
    if n == 0:
        return 1.0
    z = float(ndtri(1 - (1 - confidence) / 2))

    return _bisect(lambda delta: tango_score(b, c, n, delta) < -z, (b - c) / n, 1.0)


def tango_score(b: ArrayLike, c: ArrayLike, n: int, delta: float) -> Any:
    """Tango's score of `b` and `c` discordant pairs of `n` against the difference `delta`; arrays broadcast."""
    b, c = np.asarray(b, dtype=float), np.asarray(c, dtype=float)
    # Maximum-likelihood share of the second kind of discordance, given the difference.
    p1, p2 = 2 * n, (2 * n + c - b) * delta - b - c
    p3 = -c * delta * (1 - delta)
    q = (np.sqrt(np.maximum(p2 * p2 - 4 * p1 * p3, 0.0)) - p2) / (2 * p1)
    variance = n * (2 * q + delta * (1 - delta))
    excess = b - c - n * delta
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(excess == 0, 0.0, excess / np.sqrt(np.maximum(variance, 0.0)))


def _bisect(true_above: Callable[[float], bool], low: float, high: float) -> float:
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if true_above(middle) else (middle, high)
    return (low + high) / 2
