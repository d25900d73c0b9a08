"""An Estimate: a figure with its interval as plain numbers, and how any figure with an interval becomes JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from scipy.special import bdtr
from torch import Tensor

from pytest_robust.errors import SettingsError
from pytest_robust.evaluation.mean import Mean
from pytest_robust.evaluation.rate import CONFIDENCE, Rate

STUDENT = "Student's t"
ORDER_STATISTICS = "order statistics"


@dataclass(frozen=True)
class Estimate:
    """A figure that remembers its interval and how it was made, and nothing of the values behind it.

    Args:
        value: the figure; NaN of no images.
        lower, upper: ends of the interval; infinite where the images are too few for one.
        n: images behind it.
        method: of the interval.
        confidence: of the two-sided interval.
    """

    value: float
    lower: float
    upper: float
    n: int
    method: str
    confidence: float = CONFIDENCE

    def at(self, n: int) -> Estimate:
        """About what `n` images would give, if the figure stayed: an interval shrinks with the root of their number."""
        by = math.sqrt(self.n / n) if n else math.inf
        lower, upper = (self.value + by * (end - self.value) for end in (self.lower, self.upper))
        return replace(self, lower=lower, upper=upper, n=n)

    def __str__(self) -> str:
        return f"{self.value:.3g} ({self.confidence:.0%} CI {self.lower:.3g} to {self.upper:.3g}, n={self.n})"


def estimated_mean(mean: Mean) -> Estimate:
    """A mean with its t interval, as plain numbers."""
    return Estimate(mean.value, mean.lower, mean.upper, mean.n, STUDENT, mean.confidence)


def median_of(values: Tensor, confidence: float = CONFIDENCE) -> Estimate:
    """The median of per-image values with the exact, distribution-free interval between two order statistics.

    Its ends are the k-th smallest and the k-th largest value with the largest k for which the binomial distribution
    leaves at most 1 − confidence outside; infinite of fewer than six values (at 95 %), where there is no such k.

    Args:
        values: float of shape (N,).
        confidence: of the interval; never less.
    """
    ordered = values.detach().cpu().double().sort().values
    n = len(ordered)
    if n == 0:
        return Estimate(math.nan, -math.inf, math.inf, 0, ORDER_STATISTICS, confidence)
    inside = [k for k in range(1, n // 2 + 1) if bdtr(k - 1, n, 0.5) <= (1 - confidence) / 2]
    lower, upper = (float(ordered[inside[-1] - 1]), float(ordered[n - inside[-1]])) if inside else (-math.inf, math.inf)
    middle = float(torch.quantile(ordered, 0.5))
    return Estimate(middle, lower, upper, n, ORDER_STATISTICS, confidence)


def to_plain(figure: Rate | Estimate) -> dict[str, Any]:
    """A figure as JSON; what JSON cannot hold (NaN, infinity) is null."""
    if isinstance(figure, Rate):
        fields = {"k": figure.k, "n": figure.n, "confidence": figure.confidence}
        fields |= {"value": figure.value, "lower": figure.lower, "upper": figure.upper}
    else:
        fields = asdict(figure)
    return {name: _finite(value) for name, value in fields.items()}


def from_plain(plain: Mapping[str, Any]) -> Rate | Estimate:
    """The figure that `to_plain` wrote.

    Raises:
        SettingsError: it is no such figure.
    """
    try:
        if "k" in plain:
            return Rate(plain["k"], plain["n"], plain["confidence"])
        blank: dict[str, Any] = {"value": math.nan, "lower": -math.inf, "upper": math.inf}
        return Estimate(**{name: blank[name] if value is None else value for name, value in plain.items()})
    except (KeyError, TypeError) as error:
        raise SettingsError(f"no figure with an interval: {dict(plain)!r}; use what to_plain wrote.") from error


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
