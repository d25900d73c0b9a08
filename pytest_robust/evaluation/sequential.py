"""A SequentialRate: k of n with an interval that holds at every n at once, so that one may look and stop when certain.

The interval of a `Rate` is right for one look at one fixed number of images. Whoever looks after every batch and stops
as soon as that interval clears the threshold is wrong far more often than it says. Here the interval is a confidence
*sequence*: with probability `confidence` it holds the true rate after 1, 2, 3, … images all at once, whatever the rule
by which one stops.

It is the set of rates m that a test martingale does not reject. The martingale at m is the likelihood ratio of a
Beta(c·m, c·(1 − m)) mixture against m itself (Robbins, Annals of Mathematical Statistics 41, 1970, 1397–1409), that
is the beta-binomial probability of k over the binomial one. It starts at 1, its expectation stays 1 if m is the true
rate, so by Ville's inequality it ever reaches 1/α with probability at most α. Its logarithm is convex in m: the set is
an interval.

What is assumed: images come in an order that does not depend on their outcomes (a random permutation by a fixed seed),
and stand for a large population, as for a `Rate`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import gammaln
from torch import Tensor

from pytest_robust.errors import SettingsError
from pytest_robust.evaluation.rate import CONFIDENCE
from pytest_robust.evaluation.verdict import Interval, Judgement, Verdict, at_least

#: c, of the mixture: how closely the alternatives surround m. Our choice: of 5 … 200 within some per cent of the best
#: where the rate lies five points from a threshold of 0.5 … 0.99. Any value is valid; it decides how soon one stops.
CONCENTRATION = 50.0

#: The rates 0 and 1 are tested as this far inside, where logarithms are finite.
NEAR_ZERO = 1e-12

#: Judges a figure against a threshold: `at_least`, `at_most` or `above` of `evaluation.verdict`.
Rule = Callable[[Interval, float], Judgement]


def log_evidence(k: ArrayLike, n: ArrayLike, rate: ArrayLike) -> Any:
    """Logarithm of the test martingale against `rate`, after k of n; arrays broadcast.

    Whoever rejects `rate` once this reaches log(1 / α) is wrong with probability at most α, however often they look.

    Args:
        k: how many of the images, whole numbers.
        n: how many images.
        rate: the rate that is tested, strictly between 0 and 1.
    """
    k, n, rate = (np.asarray(a, dtype=float) for a in (k, n, rate))
    a, b, misses = CONCENTRATION * rate, CONCENTRATION * (1 - rate), n - k
    mixture = gammaln(a + k) - gammaln(a) + gammaln(b + misses) - gammaln(b)
    mixture -= gammaln(CONCENTRATION + n) - gammaln(CONCENTRATION)
    return mixture - k * np.log(rate) - misses * np.log1p(-rate)


@dataclass(frozen=True)
class SequentialRate:
    """k of the first n images, with an interval that holds at every n at once; wider than that of a `Rate`.

    Args:
        k: how many of them.
        n: how many images were looked at so far.
        confidence: that the interval holds the true rate at every n at once.
    """

    k: int
    n: int
    confidence: float = CONFIDENCE

    def __post_init__(self) -> None:
        if not (0 <= self.k <= self.n and 0 < self.confidence < 1 and self.k == int(self.k)):
            raise SettingsError(f"no rate: {self.k} of {self.n} at confidence {self.confidence}.")

    @property
    def value(self) -> float:
        """k / n; NaN of no images."""
        return self.k / self.n if self.n else math.nan

    def rejects(self, rate: float) -> bool:
        """Whether `rate` is ruled out: the true rate is, at any n, with probability at most 1 − confidence."""
        inside = min(max(rate, NEAR_ZERO), 1 - NEAR_ZERO)
        return bool(log_evidence(self.k, self.n, inside) >= -math.log(1 - self.confidence))

    @cached_property
    def lower(self) -> float:
        """Lower end of the interval; 0 when k is 0."""
        return self._end(0.0)

    @cached_property
    def upper(self) -> float:
        """Upper end of the interval; 1 when k is n."""
        return self._end(1.0)

    def _end(self, outer: float) -> float:
        """The rejected rate nearest to the value on its way to `outer`; the rates in between are not rejected."""
        inner = self.value
        if self.n == 0 or inner == outer or not self.rejects(outer):
            return outer
        for _ in range(60):
            middle = (inner + outer) / 2
            inner, outer = (inner, middle) if self.rejects(middle) else (middle, outer)
        return outer

    def at(self, n: int) -> SequentialRate:
        """The same share of `n` images: what more images would tell."""
        return SequentialRate(round(self.value * n) if self.n else 0, n, self.confidence)

    def __str__(self) -> str:
        span = f"{self.confidence:.0%} at every n {self.lower:.3f}–{self.upper:.3f}"
        return f"{self.value:.3f} ({self.k}/{self.n}, {span})"


@dataclass(frozen=True)
class SequentialVerdict:
    """Where a sequential test stopped, and what it says there.

    Args:
        rate: of the images looked at; `rate.n` is how many that were.
        judgement: holds or fails if the images decided, inconclusive if they ran out before.
        looks: batches looked at.
    """

    rate: SequentialRate
    judgement: Judgement
    looks: int


def decide(
    batches: Iterable[Tensor], threshold: float, rule: Rule = at_least, confidence: float = CONFIDENCE
) -> SequentialVerdict:
    """Take batches until the verdict is certain at `confidence`, and no batch more.

    A wrong verdict, holds or fails, is given with probability at most 1 − confidence, for any sizes of the batches.

    Args:
        batches: bool of shape (N,) each, whether the model was right on the next images; taken one at a time, so a
            generator can attack the images of a batch when it is asked for it. The order of the images must not depend
            on their outcomes: `Split.sample` and a seeded permutation are fine, images sorted by class are not.
        threshold: what the rate is judged against, in [0, 1].
        rule: `at_least`, `at_most` or `above` of `evaluation.verdict`.
        confidence: of the verdict.

    Raises:
        SettingsError: the threshold is not in [0, 1].
    """
    test = SequentialTest(threshold, rule, confidence)
    for batch in batches:
        if test.update(batch):
            break
    return test.verdict


class SequentialTest:
    """A test that is fed batch by batch; `decide` in the form for who holds the loop.

    Args:
        threshold, rule, confidence: as of `decide`.
    """

    def __init__(self, threshold: float, rule: Rule = at_least, confidence: float = CONFIDENCE) -> None:
        if not 0 <= threshold <= 1:
            raise SettingsError(f"a rate is judged against a threshold in [0, 1], not {threshold:g}.")
        self.threshold, self.rule = threshold, rule
        self.rate = SequentialRate(0, 0, confidence)
        self.looks = 0
        self._decided: Judgement | None = None

    @property
    def decided(self) -> bool:
        """Whether the verdict is certain; further batches change nothing any more."""
        return self._decided is not None

    @property
    def verdict(self) -> SequentialVerdict:
        """The verdict so far."""
        judgement = self.rule(self.rate, self.threshold) if self._decided is None else self._decided
        return SequentialVerdict(self.rate, judgement, self.looks)

    def update(self, batch: Tensor) -> bool:
        """Count a batch, bool of shape (N,); True once the verdict is certain.

        Raises:
            SettingsError: the verdict was certain already: a figure that went on counting would not be its figure.
        """
        if self.decided:
            raise SettingsError(f"the verdict was certain after {self.rate.n} images; take no more.")
        self.looks += 1
        self.rate = SequentialRate(self.rate.k + int(batch.sum()), self.rate.n + batch.numel(), self.rate.confidence)
        if self.rate.rejects(self.threshold):  # the rule can only then be certain, and asks far more work
            judged = self.rule(self.rate, self.threshold)
            self._decided = None if judged.verdict is Verdict.INCONCLUSIVE else judged
        return self.decided
