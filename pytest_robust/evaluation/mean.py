"""A Mean: the mean of per-image values with Student's interval, and differences of two means, paired or not."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from scipy.special import stdtrit
from torch import Tensor

from pytest_robust.errors import SettingsError
from pytest_robust.evaluation.rate import CONFIDENCE


@dataclass(frozen=True)
class Mean:
    """A mean with Student's t interval on n independent images.

    The interval is approximate where the values are skewed (norms and squared errors are): it comes from the central
    limit theorem. Of too few images it is infinite, so that no verdict rests on them: below six (at 95 %) not even the
    sign test could decide, whatever the values, and only an assumed normal distribution would.

    Args:
        value: the mean; NaN of no images.
        standard_error: of the mean.
        n: independent images behind it.
        confidence: of the two-sided interval.
        degrees: of freedom of the standard error; None is n − 1.
    """

    value: float
    standard_error: float
    n: int
    confidence: float = CONFIDENCE
    degrees: int | None = None

    @cached_property
    def _half_width(self) -> float:
        if self.n < fewest_images(self.confidence):
            return math.inf
        return student_quantile(self.degrees or self.n - 1, self.confidence) * self.standard_error

    @property
    def lower(self) -> float:
        """Lower end of the interval; −∞ where the images are too few."""
        return self.value - self._half_width if self.n else -math.inf

    @property
    def upper(self) -> float:
        """Upper end of the interval; ∞ where the images are too few."""
        return self.value + self._half_width if self.n else math.inf

    def at(self, n: int) -> Mean:
        """The same mean and spread of `n` images."""
        by = math.sqrt(self.n / n) if n else 1.0
        return replace(self, standard_error=self.standard_error * by, n=n)

    def __str__(self) -> str:
        return f"{self.value:.3g} ({self.confidence:.0%} CI {self.lower:.3g} to {self.upper:.3g}, n={self.n})"


def fewest_images(confidence: float = CONFIDENCE) -> int:
    """Of fewer images nothing can be judged: not even the sign test could decide (six at 95 %), whatever the values."""
    return max(2, math.ceil(math.log2(2 / (1 - confidence))))


def mean_of(values: Tensor, image: Tensor | None = None, confidence: float = CONFIDENCE) -> Mean:
    """The mean of per-entry values.

    Args:
        values: float of shape (N,).
        image: int64 of shape (N,): which original each entry was made from. Entries that share one are not independent:
            the standard error is then the cluster-robust one (Liang & Zeger, Biometrika 73, 1986, 13–22) and `n`
            counts originals. Without it every entry is an original.
        confidence: of the interval.

    Raises:
        SettingsError: a value is not finite, or the shapes differ.
    """
    flat = values.detach().cpu().double()
    if flat.ndim != 1 or (image is not None and image.shape != flat.shape):
        raise SettingsError(
            f"a mean needs values of shape (N,) and as many originals, not {tuple(flat.shape)} "
            f"and {None if image is None else tuple(image.shape)}."
        )
    if not torch.isfinite(flat).all():
        raise SettingsError("a mean of values that are not finite says nothing: leave those images out, and say so.")
    if len(flat) == 0:
        return Mean(math.nan, math.inf, 0, confidence)
    centre = float(flat.mean())
    residuals = flat - centre if image is None else sums_by_image(flat - centre, image)
    n = len(residuals)
    error = math.sqrt(n / (n - 1) * float(residuals.square().sum())) / len(flat) if n > 1 else math.inf
    return Mean(centre, error, n, confidence)


def paired_mean_difference(
    first: Tensor, second: Tensor, image: Tensor | None = None, confidence: float = CONFIDENCE
) -> Mean:
    """Mean of `first` minus mean of `second`, float of shape (N,) each, measured on the same entries in order.

    The paired t interval on the differences; entries that share an original count as `mean_of` counts them.

    Raises:
        SettingsError: the two are not of one length, or a value is not finite.
    """
    if first.shape != second.shape:
        raise SettingsError(f"paired means need the same images, not {len(first)} and {len(second)} of them.")
    return mean_of(first.detach().cpu().double() - second.detach().cpu().double(), image, confidence)


@dataclass(frozen=True)
class MeanDifference:
    """First mean minus second mean, measured on two different samples: Welch's interval (Biometrika 34, 1947, 28–35).

    Infinite where either mean has too few images for an interval of its own.
    """

    first: Mean
    second: Mean

    @property
    def value(self) -> float:
        """The difference."""
        return self.first.value - self.second.value

    @cached_property
    def _half_width(self) -> float:
        if not all(math.isfinite(m.lower) for m in (self.first, self.second)):
            return math.inf
        variances = [m.standard_error**2 for m in (self.first, self.second)]
        if sum(variances) == 0:
            return 0.0
        spread = sum(v**2 / (m.n - 1) for v, m in zip(variances, (self.first, self.second), strict=True))
        return student_quantile(sum(variances) ** 2 / spread, self.first.confidence) * math.sqrt(sum(variances))

    @property
    def lower(self) -> float:
        """Lower end of the interval."""
        return self.value - self._half_width if self.n else -math.inf

    @property
    def upper(self) -> float:
        """Upper end of the interval."""
        return self.value + self._half_width if self.n else math.inf

    @property
    def n(self) -> int:
        """Images in the smaller sample."""
        return min(self.first.n, self.second.n)

    def at(self, n: int) -> MeanDifference:
        """The same means and spreads, each of at least `n` images."""
        return MeanDifference(self.first.at(max(n, self.first.n)), self.second.at(max(n, self.second.n)))

    def __str__(self) -> str:
        return f"{self.value:+.3g} ({self.first.confidence:.0%} CI {self.lower:+.3g} to {self.upper:+.3g}, n={self.n})"


def sums_by_image(values: Tensor, image: Tensor) -> Tensor:
    """Sum of the values (N,) of each original, in the order of the originals' sorted numbers; of shape (originals,)."""
    groups = image.cpu().unique(return_inverse=True)[1]
    return torch.zeros(int(groups.max()) + 1, dtype=values.dtype).index_add(0, groups, values)


def student_quantile(degrees: float, confidence: float) -> float:
    """How many standard errors Student's two-sided interval reaches to either side."""
    return float(stdtrit(degrees, 1 - (1 - confidence) / 2))
