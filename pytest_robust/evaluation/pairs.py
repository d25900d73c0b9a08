"""Rates and mean images by (original, target) class: the K × K matrices of targeted attacks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from pytest_robust.errors import SettingsError
from pytest_robust.evaluation.rate import CONFIDENCE, Rate


@dataclass(frozen=True, eq=False)
class PairCounts:
    """How many of how many, by (original, target) class.

    Args:
        k: int64 of shape (K, K): entries of which it is true; rows are original classes, columns target classes.
        n: int64 of shape (K, K): all entries.
    """

    k: Tensor
    n: Tensor

    @classmethod
    def of(cls, mask: Tensor, original: Tensor, target: Tensor, classes: int) -> PairCounts:
        """Count a bool tensor (N,) by true label and target label, int64 (N,) each, of `classes` classes.

        Raises:
            SettingsError: the shapes differ, or a label is out of range.
        """
        cell = _cells(original, target, classes, len(mask))
        counted = [torch.bincount(c, minlength=classes**2).view(classes, classes) for c in (cell[mask.cpu()], cell)]
        return cls(*counted)

    @property
    def share(self) -> Tensor:
        """Float64 of shape (K, K): k / n; NaN where no entry is of that pair, which pictures leave blank."""
        return torch.where(self.n > 0, self.k.double() / self.n.clamp(min=1), math.nan)

    @property
    def greatest(self) -> ExtremeRate:
        """The greatest share of any pair that has entries, with an interval that allows for having chosen it."""
        filled = self.n > 0
        rates = [Rate(k, n) for k, n in zip(self.k[filled].tolist(), self.n[filled].tolist(), strict=True)]
        return ExtremeRate(rates)


@dataclass(frozen=True)
class ExtremeRate:
    """The greatest of several rates.

    The greatest of many noisy rates lies above the greatest true rate. Each rate's own interval is therefore taken at
    the Bonferroni-corrected confidence; the greatest lower and the greatest upper end then hold the greatest true rate
    at `confidence`, whatever the rates' dependence.
    """

    rates: Sequence[Rate]
    confidence: float = CONFIDENCE

    def __post_init__(self) -> None:
        if not self.rates:
            raise SettingsError("there is no greatest of no rates: no (original, target) pair has an entry.")

    @cached_property
    def _corrected(self) -> list[Rate]:
        each = 1 - (1 - self.confidence) / len(self.rates)
        return [Rate(r.k, r.n, each, r.independent) for r in self.rates]

    @property
    def value(self) -> float:
        """The greatest."""
        return max(r.value for r in self.rates)

    @property
    def lower(self) -> float:
        """Lower end of the interval."""
        return max(r.lower for r in self._corrected)

    @property
    def upper(self) -> float:
        """Upper end of the interval."""
        return max(r.upper for r in self._corrected)

    @property
    def n(self) -> int:
        """Images behind the smallest of the rates."""
        return min(r.n for r in self.rates)

    def at(self, n: int) -> ExtremeRate:
        """The same shares, each of at least `n` images."""
        return ExtremeRate([r.at(max(n, r.n)) for r in self.rates], self.confidence)

    def __str__(self) -> str:
        span = f"{self.confidence:.0%} CI {self.lower:.3f}–{self.upper:.3f}"
        return f"{self.value:.3f} (greatest of {len(self.rates)}, {span})"


def pair_means(images: Tensor, original: Tensor, target: Tensor, classes: int) -> Tensor:
    """Mean image of each (original, target) pair, float64 of shape (K, K, C, H, W); NaN where a pair has no entry.

    Args:
        images: images or perturbations, float of shape (N, C, H, W).
        original, target: int64 of shape (N,), each in 0 .. classes - 1.
        classes: K.

    Raises:
        SettingsError: the shapes differ, or a label is out of range.
    """
    cell = _cells(original, target, classes, len(images))
    sums = torch.zeros(classes**2, *images.shape[1:], dtype=torch.float64)
    for start in range(0, len(images), 4096):  # a float64 copy of all images at once may not fit
        stop = start + 4096
        sums.index_add_(0, cell[start:stop], images[start:stop].detach().cpu().double())
    count = torch.bincount(cell, minlength=classes**2).double().view(-1, 1, 1, 1)
    means = torch.where(count > 0, sums / count.clamp(min=1), math.nan)
    return means.view(classes, classes, *images.shape[1:])


def _cells(original: Tensor, target: Tensor, classes: int, n: int) -> Tensor:
    if not original.shape == target.shape == (n,):
        raise SettingsError(f"{n} entries need {n} original and {n} target labels, not {len(original)}, {len(target)}.")
    labels = torch.stack([original.cpu(), target.cpu()])
    if n and not (int(labels.min()) >= 0 and int(labels.max()) < classes):
        raise SettingsError(f"labels must be in 0..{classes - 1}, but run from {labels.min()} to {labels.max()}.")
    return labels[0] * classes + labels[1]
