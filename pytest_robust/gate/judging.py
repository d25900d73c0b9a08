"""The verdict on a requirement: from what was measured, and from a baseline where there is one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from pytest_robust.evaluation.verdict import Judgement, Verdict
from pytest_robust.gate.comparing import Change
from pytest_robust.gate.measuring import RULES, Measurement
from pytest_robust.gate.requirements import OUTCOMES, SYMBOLS, Gate, Outcome, Requirement

#: The verdict of a drop that has no baseline yet: the run that saves the first one.
SAVED = Judgement(Verdict.INFORMATION, "there is no baseline to compare with yet: this run saves the first")


@dataclass(frozen=True)
class Judged:
    """A requirement with its verdict.

    Args:
        gate: that it belongs to.
        requirement: what was demanded.
        measurement: what was measured.
        judgement: the verdict and the sentence that explains it.
        change: from the baseline; None without one.
        not_compared: why there is none although a baseline was given; "" where there is, or none was given.
        reproduce: a command that does it again.
        doubts: checks on the evaluation that are raised, a sentence each.
        picture: file in the report folder that shows the worst images; "" where there is none.
    """

    gate: Gate
    requirement: Requirement
    measurement: Measurement
    judgement: Judgement
    change: Change | None = None
    not_compared: str = ""
    reproduce: str = ""
    doubts: tuple[str, ...] = ()
    picture: str = ""

    @property
    def outcome(self) -> Outcome:
        """What the verdict means for the build; of what is both open and in doubt, the stricter outcome."""
        verdict = self.judgement.verdict
        if verdict is Verdict.INCONCLUSIVE:
            # Who lets nothing through that the images cannot decide does not mean to where a check is raised as well.
            asked = [self._undecided, *([self.gate.unreliable] if self.doubts else [])]
            return min(asked, key=OUTCOMES.index)  # they stand with the strictest first
        if verdict is Verdict.UNRELIABLE:
            return self.gate.unreliable
        if verdict is Verdict.INFORMATION:
            return "skip"
        return "pass" if verdict is Verdict.HOLDS else "fail"

    @property
    def _undecided(self) -> Outcome:
        """A threshold that may be missed fails, a loss that may be there passes, unless the user says otherwise."""
        drops = self.requirement.comparison == "max_drop_from_baseline"
        return self.gate.inconclusive or ("pass" if drops else "fail")

    def sentence(self) -> str:
        """Verdict and reason: ``clean accuracy >= 0.9 fails: measured 0.85 (…); the whole interval lies below 0.9.``"""
        verdict = self.judgement.verdict
        phrase = str(verdict) if verdict in (Verdict.HOLDS, Verdict.FAILS) else f"is {verdict}"
        reason = f"; {self.judgement.reason}" if self.judgement.reason else ""
        return f"{self.requirement.title} {phrase}: measured {self.measurement.figure}{reason}."

    def explain(self) -> str:
        """The sentence, and everything that is needed to look into it."""
        measured, first = self.measurement, self.measurement.results[0]
        saved = "" if measured.used == len(measured.data) else f" of {len(measured.data)}: no more were needed"
        attack = "" if first.attack is None else f"\n  attack: {first.attack.title}"
        lines = [
            f"{self.sentence()}{attack}",
            f"  model: {first.model}, data: {measured.data.name}",
            f"  images: {measured.used}{saved}",
            f"  clean accuracy: {first.clean_accuracy}" if first.attack and len(measured.results) == 1 else "",
            f"  seed: {first.seed}, device: {first.device}",
            f"  worst images: {', '.join(map(str, measured.worst))}{self.picture and f' ({self.picture})'}",
            f"  baseline: {self.change or self.not_compared}" if self.change or self.not_compared else "",
            f"  to reproduce: {self.reproduce}" if self.reproduce else "",
            f"  in Python: {first.reproduce}" if len(measured.results) == 1 else "",
            *(f"  UNRELIABLE: {check}" for check in self.doubts),
        ]
        return "\n".join(line for line in lines if line)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for reports."""
        requirement, measured, first = self.requirement, self.measurement, self.measurement.results[0]
        attack = first.attack
        return {
            "requirement": requirement.title,
            "file": self.gate.path,
            "model": first.model,
            "data": measured.data.name,
            "metric": requirement.metric,
            "attack": None if attack is None else attack.name,
            "parameters": {} if attack is None else dict(attack.params),
            "norm": None if attack is None else attack.norm,
            "measured": str(measured.figure),
            "value": measured.figure.value,
            "lower": measured.figure.lower,
            "upper": measured.figure.upper,
            "comparison": SYMBOLS[requirement.comparison],
            "threshold": requirement.threshold,
            "confidence": self.gate.confidence,
            "images": len(measured.data),
            "images_used": measured.used,
            "worst": measured.worst,
            "picture": self.picture,
            "seed": first.seed,
            "device": first.device,
            "checks": list(self.doubts),
            "verdict": str(self.judgement.verdict),
            "outcome": self.outcome,
            "reason": self.judgement.reason,
            "baseline": None if self.change is None else self.change.as_dict(),
            "not_compared": self.not_compared,
            "reproduce": self.reproduce,
            "explanation": self.explain(),
        }


def judgement_of(requirement: Requirement, measured: Measurement, change: Change | None) -> Judgement:
    """The verdict on a requirement that is compared with a threshold, with a baseline, or with both.

    A gate's `at_least` and `at_most` hold when the whole interval is on the demanded side. A drop fails when it is
    significantly larger than allowed, holds when the images rule out a larger one, and is inconclusive between the two:
    that passes, unless the user says otherwise, as a release is stopped by a proven loss. A threshold that is kept is
    no excuse for a loss: with a baseline, both are judged.
    """
    judgement = Judgement(Verdict.HOLDS)
    if requirement.comparison in RULES:
        judgement = RULES[requirement.comparison](measured.figure, requirement.threshold)
    else:
        judgement = SAVED if change is None else change.comparison.judgement
    if change is not None and change.worse:
        because = f"significantly worse than the baseline: {change}"
        missed = requirement.comparison in RULES and judgement.verdict is Verdict.FAILS
        before = f"{judgement.reason}; " if missed else ""
        judgement = Judgement(Verdict.FAILS, before + because)
    return judgement


def reliable(judgement: Judgement, checks: tuple[str, ...]) -> Judgement:
    """The judgement, unless it would let the release pass while a check on the evaluation itself is raised.

    A failure stays one, because a broken attack makes a model look stronger and never weaker. What is not met for
    certain stays so too: to accept figures in doubt is not to accept a requirement that they do not meet.
    """
    if not checks or judgement.verdict in (Verdict.FAILS, Verdict.INCONCLUSIVE):
        return judgement
    return Judgement(Verdict.UNRELIABLE, "; ".join(checks))


def with_reason(judged: Judged, judgement: Judgement) -> Judged:
    """The same requirement with another verdict."""
    return replace(judged, judgement=judgement)


def settings_of(requirement: Requirement, measured: Measurement) -> Mapping[str, Any]:
    """Everything that must be the same for the figures of two models to be compared."""
    attack, first = measured.attack, measured.results[0]
    found: dict[str, Any] = {"metric": requirement.metric, "attack": None if attack is None else attack.name}
    if attack is not None:
        shown = {k: v for k, v in attack.params.items() if k != "batch_size"}
        found |= {"norm": attack.norm, "target": attack.target, "parameters": shown}
        found |= {"implementation": attack.implementation}  # of one name there may be several
    return {**found, "seed": first.seed, "confidence": first.confidence}
