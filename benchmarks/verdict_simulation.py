"""Simulated gates: what verdicts say of models whose true rate is known, and how many images they take to say it.

Only the outcomes are simulated; every verdict is given by the package's own code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pytest_robust.evaluation.baseline import Drop, holm
from pytest_robust.evaluation.compare import PairedDifference, RateDifference
from pytest_robust.evaluation.rate import Rate
from pytest_robust.evaluation.sequential import SequentialRate

CONFIDENCE = 0.95
#: Runs that are drawn at a time, to bound the memory.
CHUNK = 2000

Integers = NDArray[np.int64]
#: Whether k of n decides about a threshold: +1 passes, -1 fails, 0 leaves it open.
Judge = Callable[[int, int, float], int]


def once(k: int, n: int, threshold: float) -> int:
    """The fixed-sample gate: "at least `threshold`" on the exact interval."""
    rate = Rate(k, n, CONFIDENCE)
    return int(rate.lower >= threshold) - int(rate.upper < threshold)


def sequentially(k: int, n: int, threshold: float) -> int:
    """The sequential gate: the same on the confidence sequence."""
    if not SequentialRate(k, n, CONFIDENCE).rejects(threshold):
        return 0
    return 1 if k > n * threshold else -1


@dataclass(frozen=True)
class Gate:
    """A gate that looks after each number of images in `looks` and stops at the first verdict.

    Args:
        looks: of shape (L,), increasing; a gate of a fixed sample looks once.
        passes_from, fails_to: of shape (L,): at each look, the fewest successes that pass and the most that fail.
    """

    looks: Integers
    passes_from: Integers
    fails_to: Integers

    @classmethod
    def of(cls, judge: Judge, threshold: float, looks: Iterable[int]) -> Gate:
        """The gate that `judge` makes; it must not turn from passing to failing where k grows."""
        ns = list(looks)
        passes = [_first(n, lambda k, n=n: judge(k, n, threshold) > 0) for n in ns]
        fails = [_first(n, lambda k, n=n: judge(k, n, threshold) >= 0) - 1 for n in ns]
        return cls(np.array(ns), np.array(passes), np.array(fails))

    def run(self, rate: float, runs: int, rng: np.random.Generator) -> Verdicts:
        """Verdicts on `runs` models of true rate `rate`."""
        parts = [self._run(rate, min(CHUNK, runs - start), rng) for start in range(0, runs, CHUNK)]
        return Verdicts(*(np.concatenate([p[i] for p in parts]) for i in range(2)))

    def _run(self, rate: float, runs: int, rng: np.random.Generator) -> tuple[Integers, Integers]:
        k = rng.binomial(np.diff(self.looks, prepend=0), rate, (runs, len(self.looks))).cumsum(1)
        says = (k >= self.passes_from).astype(np.int64) - (k <= self.fails_to)
        stop = np.where((says != 0).any(1), (says != 0).argmax(1), len(self.looks) - 1)
        return says[np.arange(runs), stop], self.looks[stop]


@dataclass(frozen=True)
class Verdicts:
    """Of each run, the verdict (+1 passes, -1 fails, 0 open) and the images it took; of shape (runs,)."""

    says: Integers
    images: Integers

    def share(self, verdict: int) -> Rate:
        """How often the verdict was this one, with the Monte-Carlo interval."""
        return Rate(int((self.says == verdict).sum()), len(self.says))

    @property
    def decided(self) -> Rate:
        """How often there was a verdict."""
        return Rate(int((self.says != 0).sum()), len(self.says))


def _first(n: int, true_from: Callable[[int], bool]) -> int:
    """The smallest k in 0 … n from which it is true; n + 1 if nowhere."""
    low, high = -1, n + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if true_from(middle) else (middle, high)
    return high


def images_for_power(threshold: float, rate: float, power: float) -> int:
    """About the fewest images at which one look decides with this probability, by doubling and bisection."""

    def reaches(n: int) -> bool:
        return Gate.of(once, threshold, [n]).run(rate, 20_000, np.random.default_rng(n)).decided.value >= power

    high = 16
    while not reaches(high):
        high *= 2
    low = high // 2
    while high - low > max(1, low // 50):
        middle = (low + high) // 2
        low, high = (low, middle) if reaches(middle) else (middle, high)
    return high


@dataclass(frozen=True)
class Release:
    """A release of several requirements, all of one kind, against its baseline on the same images or on others.

    Args:
        n: images of each requirement.
        paired: whether both models are measured on the same images.
        share: of pairs, that of the images that only the new model gets right; of two samples, the old model's rate.
        drop: by how much the new model's rate is lower.
        max_drop: that is allowed.
        count: of requirements.
        distinct: of them; the others repeat these, as one attack at several budgets nearly does.
    """

    n: int
    paired: bool
    share: float
    drop: float = 0.0
    max_drop: float = 0.0
    count: int = 20
    distinct: int = 20

    def p_values(self, runs: int, rng: np.random.Generator, screen: float = 2.2) -> NDArray[np.float64]:
        """Of shape (runs, count), uncorrected.

        Args:
            runs: releases.
            rng: source of the outcomes.
            screen: results fewer standard errors than this above what is allowed get p = 1 without being tested: the
                default is near p = 0.014, while the smallest of twenty must be at most 0.0025 for any verdict.
        """
        counts = np.stack(self._counts(runs, rng), -1)
        kinds, where = np.unique(counts.reshape(-1, 2), axis=0, return_inverse=True)
        clear = self._excess(kinds) >= screen
        p = np.array([self.measured(*map(int, kind)).p if c else 1.0 for kind, c in zip(kinds, clear, strict=True)])
        return np.repeat(p[where].reshape(runs, self.distinct), self.count // self.distinct, axis=1)

    def measured(self, first: int, second: int) -> Drop:
        """The drop that these counts show: pairs lost and gained, or right answers of the old and the new model."""
        if not self.paired:
            old, new = Rate(first, self.n), Rate(second, self.n)
            return Drop("", old, new, RateDifference(old, new), self.max_drop)
        rates = Rate(first, self.n), Rate(second, self.n)  # of the discordant images: the others change no test
        return Drop("", *rates, PairedDifference(first, second, self.n), self.max_drop)

    def _counts(self, runs: int, rng: np.random.Generator) -> tuple[Integers, Integers]:
        size = (runs, self.distinct)
        if not self.paired:
            return rng.binomial(self.n, self.share, size), rng.binomial(self.n, self.share - self.drop, size)
        lost = self.share + self.drop
        tables = rng.multinomial(self.n, [lost, self.share, 1 - lost - self.share], size)
        return tables[..., 0], tables[..., 1]

    def _excess(self, counts: Integers) -> NDArray[np.float64]:
        """By how many standard errors the drop exceeds what is allowed, by the normal approximation."""
        first, second = (counts / self.n).T
        variance = first + second if self.paired else first * (1 - first) + second * (1 - second)
        error = np.sqrt(np.maximum(variance, 1 / self.n) / self.n)
        return (first - second - self.max_drop) / error


def called_worse(p_values: NDArray[np.float64], corrected: bool = True) -> Rate:
    """How many of the releases, rows of (runs, count), have any requirement that is called worse."""
    smallest = np.array([min(holm(row)) for row in p_values.tolist()]) if corrected else p_values.min(1)
    return Rate(int((smallest <= 1 - CONFIDENCE).sum()), len(smallest))
