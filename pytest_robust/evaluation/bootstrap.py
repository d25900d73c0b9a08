"""The bootstrap over images: what a statistic of several networks on the same images does when images are drawn anew.

Efron's nonparametric bootstrap (Annals of Statistics 7, 1979, 1–26) with percentile intervals. Images are drawn, never
networks: a family of networks is given, its test images are a sample. All networks keep the same images in a draw, so
that what they have in common (an easy image is easy for all) cancels out of their comparison.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from scipy.special import ndtr, stdtrit
from torch import Tensor

from pytest_robust.evaluation.estimate import Estimate
from pytest_robust.evaluation.mean import fewest_images
from pytest_robust.evaluation.rate import CONFIDENCE, Rate

METHOD = "bootstrap over images"
#: Draws; the ends of a 95 % interval are then the 50th smallest and largest of them, of many images.
DRAWS = 2000
#: Numbers of one block of draws that are in memory at a time.
BLOCK = 1 << 22

#: From float64 weights (draws, images), how often each draw has each image, to a float64 value per draw and anything.
Statistic = Callable[[Tensor], Tensor]


def bootstrap(statistic: Statistic, images: int, *, seed: int = 0, draws: int = DRAWS) -> Tensor:
    """The statistic of `draws` samples of the images with replacement, each of as many images; of shape (draws, …).

    Args:
        statistic: of weights.
        images: how many there are.
        seed: of the draws; the same seed draws the same images.
        draws: how many.
    """
    generator = torch.Generator().manual_seed(seed)
    block = max(1, BLOCK // max(1, images))
    parts = []
    for start in range(0, draws, block):
        size = min(block, draws - start)
        drawn = torch.randint(max(1, images), (size, images), generator=generator)
        ones = torch.ones_like(drawn, dtype=torch.float64)
        parts.append(statistic(torch.zeros(size, images, dtype=torch.float64).scatter_add_(1, drawn, ones)))
    return torch.cat(parts)


def everybody(images: int) -> Tensor:
    """The weights of the sample itself, of shape (1, images)."""
    return torch.ones(1, images, dtype=torch.float64)


def percentile_interval(
    value: float, drawn: Tensor, n: int, *, worst: tuple[float, float], confidence: float = CONFIDENCE
) -> Estimate:
    """The percentile interval of a bootstrapped figure, expanded for few images (`_beyond`).

    The bootstrap knows nothing of what its images do not show. Of too few (`fewest_images`) the interval is therefore
    the figure's whole range. And where the draws are all alike, so that the interval would be a point, what n images
    never showed may still be true of a share q of all images, where q is the exact upper end of 0 of n (about 3/n): a
    figure that those images take to either end of its range bounds the interval. Of a mean of values per image, as a
    rate is one, that bound is exact; of a rank correlation it is a caution.

    Args:
        value: the figure of the sample itself.
        drawn: float of shape (draws,): the figure of each draw; NaN where a draw has none.
        n: images behind the figure; of the smallest part, where it is made of several.
        worst: ends of the figure's range; a draw without a figure counts as either of them, whichever is the less
            favourable, so that what cannot be computed never makes an interval shorter.
        confidence: of the interval.
    """
    if value != value or n < fewest_images(confidence):
        return Estimate(value, *worst, n, METHOD, confidence)
    outside = _beyond(n, confidence)
    lower = torch.quantile(drawn.double().nan_to_num(nan=worst[0]), outside, interpolation="lower")
    upper = torch.quantile(drawn.double().nan_to_num(nan=worst[1]), 1 - outside, interpolation="higher")
    ends = float(lower), float(upper)
    if ends[0] == ends[1]:
        unseen = Rate(0, n, confidence).upper
        ends = value - unseen * (value - worst[0]), value + unseen * (worst[1] - value)
    return Estimate(value, *ends, n, METHOD, confidence)


def _beyond(n: int, confidence: float) -> float:
    """The share of draws beyond each end of the interval: (1 − confidence)/2 of many images, less of few.

    As Student's interval of a mean is wider than the normal one, with its variance of n − 1 (Hesterberg, The American
    Statistician 69, 2015, 371–386: the expanded percentile interval).
    """
    return float(ndtr(-math.sqrt(n / (n - 1)) * stdtrit(n - 1, (1 + confidence) / 2)))


def weighted_mean(weights: Tensor, values: Tensor, counted: Tensor) -> Tensor:
    """Mean of the counted values of each draw, float64 of shape (draws, networks); NaN where nothing counts.

    Args:
        weights: float64 of shape (draws, images).
        values: float of shape (images, networks); what is not counted may be anything.
        counted: bool of shape (images, networks).
    """
    used = torch.where(counted, values.double(), 0.0)
    return (weights @ used) / (weights @ counted.double())


def weighted_median(weights: Tensor, values: Tensor, counted: Tensor) -> Tensor:
    """Median of the counted values of each draw (the mean of two middle ones), shaped as `weighted_mean`."""
    columns = []
    for column, mask in zip(values.double().T, counted.T, strict=True):
        ordered, order = torch.where(mask, column, torch.inf).sort()
        below = (weights * mask)[:, order].cumsum(1)
        total, last = below[:, -1:], max(0, len(ordered) - 1)
        middle = (ordered[sooner.sum(1).clamp(max=last)] for sooner in (below < total / 2, below <= total / 2))
        columns.append(torch.where(total[:, 0] > 0, sum(middle) / 2, torch.nan))
    return torch.stack(columns, 1)
