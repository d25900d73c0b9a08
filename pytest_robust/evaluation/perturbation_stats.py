"""PerturbationStats: size and pixel values of what an attack added to the images it fooled the surface with."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pytest_robust.attacks.adversarial_set import AdversarialSet
from pytest_robust.errors import SettingsError
from pytest_robust.evaluation.mean import Mean, mean_of, paired_mean_difference
from pytest_robust.evaluation.rate import CONFIDENCE, Rate

#: Per-image sizes of a perturbation, in the order of the tables, and how people write them.
SIZES = {"l1": "L1 norm", "l2": "L2 norm", "linf": "L∞ norm", "l0": "L0 norm", "mse": "MSE"}
#: Images whose pixels are turned to float64 at a time.
CHUNK = 1024


@dataclass(frozen=True)
class Summary:
    """Mean, standard deviation (of the values themselves: divided by their number), smallest and largest value."""

    mean: float
    std: float
    min: float
    max: float

    @classmethod
    def of(cls, values: Tensor) -> Summary:
        """Of a float tensor with at least one value."""
        exact = values.double()
        low, high = exact.aminmax()
        return cls(float(exact.mean()), float(exact.std(correction=0)), float(low), float(high))


@dataclass(frozen=True, eq=False)
class PerturbationStats:
    """Statistics of perturbations x′ − x of images in [0, 1] (Wang, Kunin & Pyron, Table 1).

    Where no image was measured, `n` is 0, asking for a statistic raises an error, `as_dict` has null and tables a dash:
    no statistic is ever NaN.

    Args:
        name: of the set, for people.
        fooled: the attack success rate on its own surface, of all images.
        sizes: float64 of shape (n,) each, by measured image: "l0" counts changed values, "l1", "l2", "linf", "mse" is
            the squared L2 norm divided by C·H·W (Monteiro et al., Table II).
        pixels: of the n·C·H·W values of the perturbations; None where n is 0.
        image: int64 of shape (n,): the original of each measured image, where some share one; else None.
        mse_failures_as_zero: mean MSE over all images where one that fooled nobody counts as 0, because the clean image
            is kept in its place (the way of Monteiro et al.'s code); None of a set without images. The more an attack
            fails, the smaller it gets.
    """

    name: str
    fooled: Rate
    sizes: Mapping[str, Tensor]
    pixels: Summary | None
    image: Tensor | None
    mse_failures_as_zero: float | None

    @classmethod
    def of(cls, adversarial: AdversarialSet) -> PerturbationStats:
        """Over the images that fooled the attack's surface."""
        return _measure(adversarial, adversarial.success)

    @classmethod
    def of_all(cls, adversarial: AdversarialSet) -> PerturbationStats:
        """Over all images, successful or not."""
        return _measure(adversarial, torch.ones_like(adversarial.success))

    @property
    def n(self) -> int:
        """Measured images."""
        return len(self.sizes["l2"])

    @property
    def images(self) -> int:
        """All images of the set."""
        return self.fooled.n

    @property
    def failures(self) -> int:
        """Images that did not fool the surface."""
        return self.fooled.n - int(self.fooled.k)

    def size(self, name: str) -> Summary:
        """Summary of one of `SIZES` over the measured images.

        Raises:
            SettingsError: an unknown size, or no image was measured.
        """
        return Summary.of(self._measured(name))

    def mean(self, name: str, confidence: float = CONFIDENCE) -> Mean:
        """Mean of one of `SIZES` with its interval; entries that share an original are not independent.

        Raises:
            SettingsError: an unknown size, or no image was measured.
        """
        return mean_of(self._measured(name), self.image, confidence)

    def _measured(self, name: str) -> Tensor:
        if name not in self.sizes:
            raise SettingsError(f"{name!r} is no size of a perturbation: choose of {', '.join(self.sizes)}.")
        if self.n == 0:
            raise SettingsError(
                f"{self.name}: no image of {self.images} was measured, so that there is no {SIZES[name]}; "
                "check `n` first, or attack more images."
            )
        return self.sizes[name]

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for reports; null where nothing was measured."""
        return {
            "name": self.name,
            "images": self.images,
            "measured": self.n,
            "failures": self.failures,
            "success_rate": self.fooled.value if self.images else None,
            "pixels": vars(self.pixels) if self.pixels else None,
            **{name: vars(self.size(name)) if self.n else None for name in self.sizes},
            "mse_failures_as_zero": self.mse_failures_as_zero,
        }

    def rows(self) -> list[tuple[str, str, str]]:
        """(quantity, statistic, figure) for people, three significant digits; a dash where nothing was measured."""
        return list(self._rows())

    def _rows(self) -> Iterator[tuple[str, str, str]]:
        yield "images", "measured", f"{self.n} of {self.images}"
        yield "", "failures", str(self.failures)
        yield "", "success rate", f"{self.fooled.value:.1%}" if self.images else "–"
        summaries: dict[str, Summary | None] = {"pixel values": self.pixels}
        summaries |= {title: self.size(name) if self.n else None for name, title in SIZES.items()}
        for title, summary in summaries.items():
            for statistic in ("mean", "std", "min", "max"):
                figure = f"{getattr(summary, statistic):.3g}" if summary else "–"
                yield title if statistic == "mean" else "", statistic, figure
        zero = self.mse_failures_as_zero
        yield "", "mean, failures as 0", "–" if zero is None else f"{zero:.3g}"


def paired_size_difference(
    first: AdversarialSet, second: AdversarialSet, name: str, confidence: float = CONFIDENCE
) -> Mean:
    """How much larger the first set's perturbations are, by one of `SIZES`: paired on entries that fooled in both sets.

    Each set's own successes are different images (a weak attack fools only the easy ones), so their means do not
    compare; the same entries do.

    Args:
        first, second: sets of the same originals, in the same order and, if targeted, with the same targets.
        name: one of `SIZES`.
        confidence: of the interval.

    Raises:
        SettingsError: the sets are of different images or targets, or an unknown size.
    """
    if first.clean.fingerprint != second.clean.fingerprint or not _same_targets(first, second):
        raise SettingsError(
            f"{first.attack} and {second.attack} were not made from the same images and targets, in the same order, so "
            "that they cannot be paired: compare their means with MeanDifference."
        )
    both = (first.success & second.success).cpu()
    one, other = (sizes_of(s) for s in (first, second))
    if name not in one:
        raise SettingsError(f"{name!r} is no size of a perturbation: choose of {', '.join(one)}.")
    image = None if first.image is None else first.image.cpu()[both]
    return paired_mean_difference(one[name][both], other[name][both], image, confidence)


def _same_targets(first: AdversarialSet, second: AdversarialSet) -> bool:
    if first.targets is None or second.targets is None:
        return True
    return torch.equal(first.targets.cpu(), second.targets.cpu())


def _measure(adversarial: AdversarialSet, chosen: Tensor) -> PerturbationStats:
    keep, sizes = chosen.cpu(), sizes_of(adversarial)
    image = None if adversarial.image is None else adversarial.image.cpu()
    independent = None if image is None else int(image.unique().numel())
    fooled = Rate.of(adversarial.success.cpu(), independent=independent)
    as_zero = float((sizes["mse"] * adversarial.success.cpu()).mean()) if len(adversarial) else None
    return PerturbationStats(
        adversarial.attack,
        fooled,
        {name: values[keep] for name, values in sizes.items()},
        _pixels(adversarial, chosen) if bool(keep.any()) else None,
        None if image is None else image[keep],
        as_zero,
    )


def sizes_of(adversarial: AdversarialSet) -> dict[str, Tensor]:
    """Every one of `SIZES` of each image's perturbation, successful or not, float64 of shape (N,), on the CPU."""
    norms = {name: values.cpu().double() for name, values in adversarial.norms.items()}
    norms["mse"] = norms["l2"].square() / max(1, math.prod(adversarial.x.shape[1:]))
    return {name: norms[name] for name in SIZES}


def _pixels(adversarial: AdversarialSet, chosen: Tensor) -> Summary:
    """By the law of total variance from each image's own mean and variance, because all have equally many pixels."""
    parts = []
    for index in chosen.nonzero().flatten().split(CHUNK):
        delta = (adversarial.x[index] - adversarial.clean.x[index]).flatten(1).cpu()
        variance, mean = torch.var_mean(delta.double(), dim=1, correction=0)
        parts.append(torch.stack([mean, variance, delta.amin(1), delta.amax(1)]))
    mean, variance, low, high = torch.cat(parts, 1)
    std = math.sqrt(float(variance.mean()) + float(mean.var(correction=0)))
    return Summary(float(mean.mean()), std, float(low.min()), float(high.max()))
