"""A Rate: k of n with its exact interval, that compares and prints like the number it is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, total_ordering

from scipy.special import betaincinv
from torch import Tensor

from pytest_robust.errors import SettingsError

#: Confidence of every interval, unless a caller says otherwise.
CONFIDENCE = 0.95


@total_ordering
@dataclass(frozen=True, eq=False)
class Rate:
    """k of n with the exact (Clopper–Pearson 1934) interval. Compares like a float, by its value.

    Args:
        k: how many; fractional only where several adversarial images share an original.
        n: of how many.
        confidence: of the two-sided interval.
        independent: how many independent images stand behind the n, if fewer than n (several adversarial images
            made from one original tell less than as many originals would); the interval counts only these.
    """

    k: float
    n: int
    confidence: float = CONFIDENCE
    independent: int | None = None

    def __post_init__(self) -> None:
        if not (0 <= self.k <= self.n and 0 < self.confidence < 1):
            raise SettingsError(f"no rate: {self.k} of {self.n} at confidence {self.confidence}.")

    @classmethod
    def of(cls, mask: Tensor, *, confidence: float = CONFIDENCE, independent: int | None = None) -> Rate:
        """The share of True in a bool tensor of shape (N,)."""
        return cls(int(mask.sum()), mask.numel(), confidence, independent)

    @property
    def value(self) -> float:
        """k / n; NaN of no images."""
        return self.k / self.n if self.n else math.nan

    @cached_property
    def _effective(self) -> tuple[float, int]:
        if self.independent is None or self.n == 0:
            return self.k, self.n
        return self.k * self.independent / self.n, self.independent

    @cached_property
    def lower(self) -> float:
        """Lower end of the interval; 0 when k is 0."""
        k, n = self._effective
        return 0.0 if k == 0 else float(betaincinv(k, n - k + 1, (1 - self.confidence) / 2))

    @cached_property
    def upper(self) -> float:
        """Upper end of the interval; 1 when k is n."""
        k, n = self._effective
        return 1.0 if k == n else float(betaincinv(k + 1, n - k, 1 - (1 - self.confidence) / 2))

    def at(self, n: int) -> Rate:
        """The same share of `n` images, as many of them from one original: what more images would tell."""
        independent = None if self.independent is None or not self.n else max(1, round(self.independent * n / self.n))
        return Rate(self.value * n if self.n else 0, n, self.confidence, independent)

    def __float__(self) -> float:
        return self.value

    def __eq__(self, other: object) -> bool:
        return self.value == float(other) if isinstance(other, (Rate, int, float)) else NotImplemented

    def __lt__(self, other: object) -> bool:
        return self.value < float(other) if isinstance(other, (Rate, int, float)) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.value)

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.k:g}/{self.n}, {self.confidence:.0%} CI {self.lower:.3f}–{self.upper:.3f})"

    def __repr__(self) -> str:
        return str(self)


@dataclass(frozen=True)
class MeanRate:
    """The mean of several rates, with an interval that holds whatever their dependence.

    Each rate's own interval is taken at the Bonferroni-corrected confidence; the mean of their ends then covers
    the mean of the true rates at `confidence`, also when the rates were measured on the same images.
    """

    rates: Sequence[Rate]
    confidence: float = CONFIDENCE

    @property
    def value(self) -> float:
        """The mean."""
        return sum(r.value for r in self.rates) / len(self.rates)

    @property
    def n(self) -> int:
        """Images behind the smallest of the rates."""
        return min(r.n for r in self.rates)

    @cached_property
    def _corrected(self) -> list[Rate]:
        each = 1 - (1 - self.confidence) / len(self.rates)
        return [Rate(r.k, r.n, each, r.independent) for r in self.rates]

    @property
    def lower(self) -> float:
        """Lower end of the interval."""
        return sum(r.lower for r in self._corrected) / len(self.rates)

    @property
    def upper(self) -> float:
        """Upper end of the interval."""
        return sum(r.upper for r in self._corrected) / len(self.rates)

    def at(self, n: int) -> MeanRate:
        """The same shares, each of at least `n` images."""
        return MeanRate([r.at(max(n, r.n)) for r in self.rates], self.confidence)

    def __str__(self) -> str:
        return (
            f"{self.value:.3f} (mean of {len(self.rates)}, {self.confidence:.0%} CI {self.lower:.3f}–{self.upper:.3f})"
        )
