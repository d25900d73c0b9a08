"""Spearman's rank correlation over a family of networks, with two uncertainties that answer two questions.

Its *interval* is a bootstrap over images: would the same networks be ordered so on other images? Its *p-value* is a
permutation test over networks: how often does a chance order of so few networks correlate as much? A verdict on a given
family rests on the interval. That other networks would show the same is what the p-value speaks of, and of eight
networks it cannot say much.
"""

from __future__ import annotations

import functools
import itertools
import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pytest_robust.evaluation.bootstrap import percentile_interval
from pytest_robust.evaluation.rate import CONFIDENCE

#: Families up to this size are permuted in every way; larger ones so often at random.
EXHAUSTIVE, RANDOM_PERMUTATIONS = 8, 100_000
#: Of so few networks even a perfect order comes about by chance more often than in 2.5 % of the cases, the level of one
#: side of a 95 % interval: 1/4! = 4.2 %, and 1/5! = 0.8 %.
TOO_FEW = 4
#: Two correlations of the same ranks in another order differ by rounding only below this.
ROUNDING = 1e-9


@dataclass(frozen=True)
class RankCorrelation:
    """Spearman's ρ of two figures of each network.

    Args:
        value: ρ; NaN where a figure is the same for all networks, or missing for one.
        lower, upper: of the bootstrap interval over images.
        n: images behind the figures; of the network that has the fewest.
        networks: how many.
        p_greater: one-sided exact permutation p-value against "no association", towards ρ > 0.
        p_less: the same towards ρ < 0.
        confidence: of the interval.
    """

    value: float
    lower: float
    upper: float
    n: int
    networks: int
    p_greater: float
    p_less: float
    confidence: float = CONFIDENCE

    @property
    def telling(self) -> bool:
        """Whether so many networks can show a correlation at all; of `TOO_FEW` any order is chance."""
        return self.networks > TOO_FEW

    def at(self, n: int) -> RankCorrelation:
        """About what `n` images would give, if ρ stayed: the interval shrinks with the root of their number."""
        by = math.sqrt(self.n / n) if n else math.inf
        lower, upper = (self.value + by * (end - self.value) for end in (self.lower, self.upper))
        return replace(self, lower=max(-1.0, lower), upper=min(1.0, upper), n=n)

    def __str__(self) -> str:
        networks = f"{self.networks} network{'' if self.networks == 1 else 's'}"
        if self.value != self.value:
            return f"ρ undefined ({networks}, n={self.n})"
        interval = f"{self.confidence:.0%} CI {self.lower:+.2f} to {self.upper:+.2f}"
        return f"ρ {self.value:+.2f} ({interval}, {networks}, n={self.n})"


def rank_correlation(
    first: Tensor,
    second: Tensor,
    drawn_first: Tensor,
    drawn_second: Tensor,
    n: int,
    confidence: float = CONFIDENCE,
) -> RankCorrelation:
    """ρ of two figures with its interval and its p-values.

    Args:
        first, second: float of shape (networks,): the figures on all images.
        drawn_first, drawn_second: float of shape (draws, networks): the same figures in each bootstrap draw.
        n: images behind the figures; of the network that has the fewest.
        confidence: of the interval.
    """
    value = float(spearman(first[None], second[None])[0])
    interval = percentile_interval(value, spearman(drawn_first, drawn_second), n, worst=(-1.0, 1.0))
    greater, less = permutation_p_values(first, second)
    return RankCorrelation(value, interval.lower, interval.upper, n, len(first), greater, less, confidence)


def spearman(first: Tensor, second: Tensor) -> Tensor:
    """ρ of each row, float64 of shape (rows,); ties share their mean rank; NaN where a row is constant or has a NaN.

    Args:
        first, second: float of shape (rows, networks).
    """
    one, other = (_centred(ranks(t)) for t in (first, second))
    rho = (one * other).sum(1) / (one.norm(dim=1) * other.norm(dim=1))
    missing = first.isnan().any(1) | second.isnan().any(1)
    # Rounded, so that a perfect order is 1 and equal orders are equal, whatever the order of the additions.
    return torch.where(missing, torch.nan, rho.clamp(-1, 1).round(decimals=12))


def ranks(values: Tensor) -> Tensor:
    """Ranks within each row from 1, ties at their mean, float64 of the shape of `values` (rows, networks)."""
    ordered, values = values.sort(1).values, values.contiguous()
    # Positions among the ordered values, before and behind all equal ones; half their sum is the ties' mean.
    before, behind = (torch.searchsorted(ordered, values, right=right) for right in (False, True))
    return (before + behind + 1).double() / 2


def permutation_p_values(first: Tensor, second: Tensor) -> tuple[float, float]:
    """One-sided p-values towards ρ > 0 and ρ < 0: the share of the orders of `second` with a ρ as large, or as small.

    Every order of up to eight networks, a hundred thousand random ones (the given one among them) of more. NaN where ρ
    is not defined.
    """
    one, other = (_centred(ranks(t[None]))[0] for t in (first, second))
    scale = float(one.norm() * other.norm())
    if not scale > 0 or bool(first.isnan().any() or second.isnan().any()):
        return math.nan, math.nan
    size = len(first)
    permuted, given = other[_orders(size)] @ one / scale, float(one @ other) / scale
    greater, less = (permuted >= given - ROUNDING), (permuted <= given + ROUNDING)
    return float(greater.double().mean()), float(less.double().mean())


@functools.lru_cache(maxsize=4)
def _orders(size: int) -> Tensor:
    """Orders of so many networks, int64 of shape (orders, size)."""
    if size <= EXHAUSTIVE:
        return torch.tensor(list(itertools.permutations(range(size))))
    noise = torch.rand(RANDOM_PERMUTATIONS - 1, size, generator=torch.Generator().manual_seed(0))
    return torch.cat([torch.arange(size)[None], noise.argsort(1)])


def _centred(values: Tensor) -> Tensor:
    return values - values.mean(1, keepdim=True)
