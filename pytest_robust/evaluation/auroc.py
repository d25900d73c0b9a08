"""AUROC of a detection score, with DeLong's interval."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from scipy.special import expit, logit, ndtri
from torch import Tensor

from pytest_robust.evaluation.mean import fewest_images, student_quantile
from pytest_robust.evaluation.rate import CONFIDENCE


@dataclass(frozen=True)
class Auroc:
    """Area under the ROC curve: the chance that a positive scores higher than a negative, ties counting half.

    The interval is DeLong's (Biometrics 44, 1988, 837–845), taken on the logit scale so that it stays in [0, 1].
    """

    value: float
    lower: float
    upper: float
    n: int
    confidence: float = CONFIDENCE

    @classmethod
    def of_variance(cls, area: float, variance: float, independent: int, n: int, confidence: float) -> Auroc:
        """An area with the variance of its estimate; `independent` images stand behind the smaller class."""
        if variance == 0 or not 0 < area < 1:  # separated completely: the exact bound of "no pair in the wrong order"
            spare = 1 - ((1 - confidence) / 2) ** (1 / independent)
            return cls(area, max(0.0, area - spare), min(1.0, area + spare), n, confidence)
        width = float(ndtri(1 - (1 - confidence) / 2)) * math.sqrt(variance) / (area * (1 - area))
        return cls(area, float(expit(logit(area) - width)), float(expit(logit(area) + width)), n, confidence)

    def at(self, n: int) -> Auroc:
        """The same area, with the interval that `n` images would give."""
        shrink = math.sqrt(self.n / n) if n else 1.0
        low, high = self.value - (self.value - self.lower) * shrink, self.value + (self.upper - self.value) * shrink
        return Auroc(self.value, low, high, n, self.confidence)

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.confidence:.0%} CI {self.lower:.3f}–{self.upper:.3f}, n={self.n})"


def auroc(positive: Tensor, negative: Tensor, confidence: float = CONFIDENCE) -> Auroc:
    """AUROC of scores that should be higher on `positive` than on `negative`; float tensors of shapes (P,), (N,).

    The interval has Student's quantile with the degrees of freedom of the smaller class, as DeLong's variance is mostly
    that class's; of fewer than `fewest_images` in it, it is [0, 1].
    """
    pos, neg = positive.double().cpu(), negative.double().cpu()
    if len(pos) == 0 or len(neg) == 0:
        return Auroc(math.nan, 0.0, 1.0, 0, confidence)
    above = share_below(pos, neg)  # for each positive, the share of negatives below it
    below = 1 - share_below(neg, pos)  # for each negative, the share of positives above it
    area = float(above.mean())
    variance = float(above.var(correction=0)) / max(len(pos) - 1, 1) + float(below.var(correction=0)) / max(
        len(neg) - 1, 1
    )
    fewest, n = min(len(pos), len(neg)), len(pos) + len(neg)
    if fewest < fewest_images(confidence):
        return Auroc(area, 0.0, 1.0, n, confidence)
    wider = student_quantile(fewest - 1, confidence) / float(ndtri(1 - (1 - confidence) / 2))
    return Auroc.of_variance(area, variance * wider**2, fewest, n, confidence)


def share_below(x: Tensor, reference: Tensor) -> Tensor:
    """For each x (N,) the share of `reference` (M,) that is smaller, ties counting half; float64 of shape (N,)."""
    ordered = reference.sort().values
    below = torch.searchsorted(ordered, x, right=False) + torch.searchsorted(ordered, x, right=True)
    return below.double() / (2 * len(reference))
