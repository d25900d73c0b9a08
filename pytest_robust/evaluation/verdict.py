"""A Verdict: what a figure and its interval say about a threshold, and how many images would tell more."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

#: Beyond this many images "more images" is no advice any more.
MOST_IMAGES = 10_000_000


class Verdict(StrEnum):
    """What the figures say of a claim."""

    HOLDS = "holds"  #: the whole interval is on the claimed side
    FAILS = "fails"  #: the whole interval is on the other side
    INCONCLUSIVE = "inconclusive"  #: the interval holds the threshold: too few images to tell
    INFORMATION = "information"  #: nothing was claimed: the figure is shown beside a claim, and judged by nobody
    UNRELIABLE = "unreliable"  #: a check on the evaluation itself was raised, so the figure proves nothing


@dataclass(frozen=True)
class Judgement:
    """A verdict and the sentence that explains it; true if it holds, so that it can be asserted as it is."""

    verdict: Verdict
    reason: str = ""

    def __bool__(self) -> bool:
        return self.verdict is Verdict.HOLDS


class Interval(Protocol):
    """A figure with an interval, on n images."""

    @property
    def value(self) -> float:
        """The figure."""

    @property
    def lower(self) -> float:
        """Lower end of its interval."""

    @property
    def upper(self) -> float:
        """Upper end of its interval."""

    @property
    def n(self) -> int:
        """Images it was measured on."""

    def at(self, n: int) -> Interval:
        """The same figure, had it been measured on `n` images."""


def at_most(measured: Interval, threshold: float) -> Judgement:
    """Whether the measured figure is at most `threshold`, judged on its interval."""
    if measured.upper <= threshold:
        return Judgement(Verdict.HOLDS)
    if measured.lower > threshold:
        return Judgement(Verdict.FAILS, f"the whole interval lies above {threshold:g}")
    return _inconclusive(measured, threshold, lambda i: i.upper <= threshold or i.lower > threshold)


def at_least(measured: Interval, threshold: float) -> Judgement:
    """Whether the measured figure is at least `threshold`, judged on its interval."""
    if measured.lower >= threshold:
        return Judgement(Verdict.HOLDS)
    if measured.upper < threshold:
        return Judgement(Verdict.FAILS, f"the whole interval lies below {threshold:g}")
    return _inconclusive(measured, threshold, lambda i: i.lower >= threshold or i.upper < threshold)


def above(measured: Interval, threshold: float) -> Judgement:
    """Whether the measured figure is above `threshold`: a direction, judged on its interval."""
    if measured.lower > threshold:
        return Judgement(Verdict.HOLDS)
    if measured.upper < threshold:
        return Judgement(Verdict.FAILS, f"the whole interval lies below {threshold:g}")
    return _inconclusive(measured, threshold, lambda i: i.lower > threshold or i.upper < threshold)


def below(measured: Interval, threshold: float) -> Judgement:
    """Whether the measured figure is below `threshold`: a direction, judged on its interval."""
    if measured.upper < threshold:
        return Judgement(Verdict.HOLDS)
    if measured.lower > threshold:
        return Judgement(Verdict.FAILS, f"the whole interval lies above {threshold:g}")
    return _inconclusive(measured, threshold, lambda i: i.upper < threshold or i.lower > threshold)


def _inconclusive(measured: Interval, threshold: float, decided: Callable[[Interval], bool]) -> Judgement:
    reason = f"{measured.n} images cannot tell it from {threshold:g}"
    enough = images_needed(measured, decided)
    if enough is None:
        return Judgement(Verdict.INCONCLUSIVE, f"{reason}, nor would any number at this figure")
    return Judgement(Verdict.INCONCLUSIVE, f"{reason}; at this figure about {enough} would")


def images_needed(measured: Interval, decided: Callable[[Interval], bool]) -> int | None:
    """About how many images would decide, if the figure stayed what it is; None if no reasonable number would."""
    low, high = measured.n, max(2 * measured.n, 2)
    while not decided(measured.at(high)):
        low, high = high, 2 * high
        if high > MOST_IMAGES:
            return None
    while high - low > max(1, low // 50):  # within two per cent: it is advice, not a figure
        middle = (low + high) // 2
        low, high = (low, middle) if decided(measured.at(middle)) else (middle, high)
    digits = int(10 ** max(0, math.floor(math.log10(high)) - 1))
    return math.ceil(high / digits) * digits
