"""A Drop from a baseline: is a new model's rate significantly lower than the old one's, over all requirements together?

A requirement "at most `max_drop` below the baseline" is tested against the hypothesis that the true drop is at most
`max_drop`. It *fails* only when the figures refute that: when the drop is significantly greater than `max_drop`, after
Holm's correction over all requirements compared together. A model that did not change, or one retrained to the same
rates, is then called worse in any of them with probability at most 1 − confidence.

On the same images the test is paired, else it compares two samples; both are exact at any number of images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from pytest_robust.errors import SettingsError
from pytest_robust.evaluation.compare import PairedDifference, RateDifference, paired_difference
from pytest_robust.evaluation.rate import CONFIDENCE, Rate
from pytest_robust.evaluation.unconditional import paired_p, two_sample_p
from pytest_robust.evaluation.verdict import Judgement, Verdict, images_needed


@dataclass(frozen=True)
class Drop:
    """How much lower a rate is than it was: `paired_drop` and `two_sample_drop` make it.

    Args:
        name: of the requirement, as people know it.
        old: the baseline's rate, of outcomes where true is good.
        new: the new model's.
        difference: old − new with its interval; positive is worse.
        max_drop: the drop that is allowed.
    """

    name: str
    old: Rate
    new: Rate
    difference: PairedDifference | RateDifference
    max_drop: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.max_drop < 1:
            raise SettingsError(f"{self.name}: a rate can drop by 0 to 1, so max_drop cannot be {self.max_drop:g}.")

    @property
    def paired(self) -> bool:
        """Whether both rates were measured on the same images."""
        return isinstance(self.difference, PairedDifference)

    @cached_property
    def p(self) -> float:
        """One-sided p-value against "the true drop is at most `max_drop`", for this requirement alone."""
        if not isinstance(self.difference, PairedDifference):
            return two_sample_p(self.old, self.new, self.max_drop)
        if self.max_drop == 0:  # given which images differ, the exact test needs no unknown share
            return self.difference.p_first_greater
        lost, gained = self.difference.discordant
        return paired_p(int(lost), int(gained), self.difference.n, self.max_drop)


@dataclass(frozen=True)
class Comparison:
    """A drop, judged together with the others it was compared with.

    Args:
        drop: the two rates, their difference with its interval, and the p-value of this requirement alone.
        p_adjusted: the p-value after Holm's correction over all requirements.
        judgement: *fails* if the drop is significantly greater than allowed; *holds* if the whole interval of the
            drop is within what is allowed; *inconclusive* between the two, which is no reason to stop a release.
    """

    drop: Drop
    p_adjusted: float
    judgement: Judgement

    @property
    def worse(self) -> bool:
        """Whether the new model is significantly worse than allowed: the only finding that fails a build."""
        return self.judgement.verdict is Verdict.FAILS

    def __str__(self) -> str:
        d = self.drop
        figures = f"{d.old.value:.3f} → {d.new.value:.3f}, drop {d.difference}, p = {self.p_adjusted:.2g}"
        return f"{d.name}: {figures}" if d.name else figures


def paired_drop(
    old: Tensor, new: Tensor, max_drop: float = 0.0, name: str = "", confidence: float = CONFIDENCE
) -> Drop:
    """Drop from `old` to `new` on the same images.

    Args:
        old, new: bool of shape (N,), in the same order of images; true is good.
        max_drop: the drop that is allowed, in [0, 1).
        name: of the requirement.
        confidence: of the intervals.

    Raises:
        SettingsError: the two have different lengths, or `max_drop` is out of range.
    """
    difference = paired_difference(old, new, confidence=confidence)
    return Drop(name, Rate.of(old, confidence=confidence), Rate.of(new, confidence=confidence), difference, max_drop)


def two_sample_drop(old: Rate, new: Rate, max_drop: float = 0.0, name: str = "") -> Drop:
    """Drop from `old` to `new`, measured on different images.

    Raises:
        SettingsError: a rate has several entries per image, which the exact test cannot count, or `max_drop` is out of
            range.
    """
    for rate in (old, new):
        if rate.k != int(rate.k) or rate.independent not in (None, rate.n):
            raise SettingsError(f"{name}: two samples are compared by whole counts of independent images, not {rate}.")
    return Drop(name, old, new, RateDifference(old, new), max_drop)


def compare_all(
    drops: Sequence[Drop], confidence: float = CONFIDENCE, *, together: int | None = None
) -> list[Comparison]:
    """Judge all drops together: any of them wrongly called worse has probability at most 1 − confidence.

    Args:
        drops: one per requirement, of any mixture of paired and two-sample ones, however dependent.
        confidence: of the verdicts "worse", taken together.
        together: how many drops are compared in all, where others are judged elsewhere: in another test, or another
            process. Their p-values are taken for larger ones, so a single drop gets Bonferroni's correction, and any of
            all is called worse exactly when it would be if they were judged here.

    Raises:
        SettingsError: fewer together than there are here.
    """
    others = 0 if together is None else together - len(drops)
    if others < 0:
        raise SettingsError(f"{len(drops)} drops are compared here, so {together} cannot be all of them.")
    adjusted = holm([*(d.p for d in drops), *[1.0] * others])[: len(drops)]
    return [Comparison(d, p, _judge(d, p, confidence)) for d, p in zip(drops, adjusted, strict=True)]


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values after Holm's correction (Scandinavian Journal of Statistics 6, 1979, 65–70), in the same order."""
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    adjusted, greatest = [1.0] * len(p_values), 0.0
    for rank, i in enumerate(order):
        greatest = max(greatest, (len(p_values) - rank) * p_values[i])
        adjusted[i] = min(1.0, greatest)
    return adjusted


def _judge(drop: Drop, p: float, confidence: float) -> Judgement:
    allowed = f"more than {drop.max_drop:g}" if drop.max_drop else "any"
    if p <= 1 - confidence:
        return Judgement(Verdict.FAILS, f"the drop of {drop.difference.value:.3f} is significant (p = {p:.2g})")
    if drop.difference.upper <= drop.max_drop:
        return Judgement(Verdict.HOLDS)
    reason = f"no significant drop, but {drop.difference.n} images cannot rule out {allowed}"
    enough = None
    if drop.difference.value < drop.max_drop:
        enough = images_needed(drop.difference, lambda d: d.upper <= drop.max_drop)
    return Judgement(Verdict.INCONCLUSIVE, reason + (f"; at this figure about {enough} would" if enough else ""))
