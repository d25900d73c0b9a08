"""A requirement's figure against that of a baseline: old, new, the difference, and whether it is worse."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pytest_robust.evaluation.baseline import Comparison, compare_all, paired_drop, two_sample_drop
from pytest_robust.evaluation.rate import Rate
from pytest_robust.evaluation.verdict import Verdict
from pytest_robust.gate.baseline_file import Entry
from pytest_robust.gate.requirements import Requirement


@dataclass(frozen=True)
class Change:
    """From a baseline's figure to the new one.

    Args:
        requirement: whose figure it is.
        comparison: of the good outcomes; a positive difference is worse.
        together: how many requirements the verdict is corrected for.
        model: the baseline's.
    """

    requirement: Requirement
    comparison: Comparison
    together: int
    model: str

    @property
    def worse(self) -> bool:
        """Whether the new model is significantly worse than the requirement allows."""
        return self.comparison.worse

    @property
    def known(self) -> bool:
        """Whether the images tell that it is not worse than allowed; False where they cannot."""
        return self.comparison.judgement.verdict is not Verdict.INCONCLUSIVE

    @property
    def rates(self) -> tuple[float, float]:
        """The metric before and now."""
        drop = self.comparison.drop
        values = drop.old.value, drop.new.value
        return values if self.requirement.higher_is_better else (1 - values[0], 1 - values[1])

    def __str__(self) -> str:
        drop, difference = self.comparison.drop, self.comparison.drop.difference
        old, new = self.rates
        sample = f"the same {drop.new.n} images" if drop.paired else f"{drop.old.n} and {drop.new.n} other images"
        interval = f"{drop.new.confidence:.0%} CI {difference.lower:+.3f} to {difference.upper:+.3f}"
        several = f", corrected for {self.together} requirements" if self.together > 1 else ""
        return (
            f"{old:.3f} → {new:.3f}, worse by {difference.value:+.3f} ({interval}; {sample}; "
            f"p = {self.comparison.p_adjusted:.2g}{several})"
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain data for reports."""
        difference = self.comparison.drop.difference
        old, new = self.rates
        return {
            "model": self.model,
            "old": old,
            "new": new,
            "worse_by": difference.value,
            "lower": difference.lower,
            "upper": difference.upper,
            "p": self.comparison.p_adjusted,
            "together": self.together,
            "paired": self.comparison.drop.paired,
            "worse": self.worse,
            "shown": str(self),
        }


def change_from(
    old: Entry, requirement: Requirement, outcomes: Tensor, fingerprint: str, together: int, confidence: float
) -> Change:
    """The change from a baseline's measurement: paired on the same images, of two samples otherwise.

    Args:
        old: the baseline's.
        requirement: which outcomes are good, and the drop that it allows.
        outcomes: bool of shape (N,): the new ones, in the order of the data.
        fingerprint: of the data.
        together: how many requirements are compared in all. Each is judged by itself, in whatever process it runs, with
            Bonferroni's correction: any is called worse exactly when Holm's would call any worse.
        confidence: that no requirement is called worse by chance.
    """
    before = torch.tensor(old.bits, dtype=torch.bool)
    good = [bits if requirement.higher_is_better else ~bits for bits in (before, outcomes.cpu())]
    allowed = requirement.threshold if requirement.comparison == "max_drop_from_baseline" else 0.0
    if old.data["fingerprint"] == fingerprint:
        drop = paired_drop(good[0], good[1], allowed, requirement.measures, confidence)
    else:
        rates = [Rate.of(bits, confidence=confidence) for bits in good]
        drop = two_sample_drop(rates[0], rates[1], allowed, requirement.measures)
    comparison = compare_all([drop], confidence, together=together)[0]
    return Change(requirement, comparison, together, old.model["name"])
