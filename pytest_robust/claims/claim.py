"""A Claim: one statement of a paper, what was measured, and the verdict, ready for every report."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from pytest_robust.evaluation.verdict import Interval, Judgement, Verdict


@dataclass(frozen=True)
class Claim:
    """A judged claim.

    Args:
        paper: the paper's key.
        claim: its number, with D (direction) or A (absolute) where it is asserted.
        statement: what it says.
        defense: title of the defense.
        dataset: data set it was measured on.
        scale: scale it was measured at.
        attack: registered name of the attack, "" without one.
        threat_model: what the attacker saw, "" without an attack.
        measured: the figure with its interval, for people.
        value, lower, upper: the figure and its interval; None where the claim is structural.
        n: images it was measured on.
        comparison: "<", "<=", ">=" or ">" ; "" where the claim is structural.
        threshold: what it is compared with, for people.
        paper_figure: the paper's own, for people; "" if it prints none.
        verdict: what the figure says of the claim.
        reason: why the verdict is not "holds".
        note: a second count that the paper does not print.
    """

    paper: str
    claim: str
    statement: str
    defense: str
    dataset: str
    scale: str
    attack: str
    threat_model: str
    measured: str
    value: float | None
    lower: float | None
    upper: float | None
    n: int | None
    comparison: str
    threshold: str
    paper_figure: str
    verdict: Verdict
    reason: str = ""
    note: str = ""

    @property
    def holds(self) -> bool:
        """Whether the verdict is "holds"."""
        return self.verdict is Verdict.HOLDS

    def as_dict(self) -> dict[str, Any]:
        """Plain data for reports; JSON knows neither NaN nor enums."""
        plain = asdict(self)
        plain["verdict"] = str(self.verdict)
        for name in ("value", "lower", "upper"):
            if plain[name] is not None and not math.isfinite(plain[name]):
                plain[name] = None
        return plain

    def __str__(self) -> str:
        where = ", ".join(part for part in (self.defense, self.dataset, self.attack) if part)
        because = f": {self.reason}" if self.reason else ""
        paper = f"; the paper has {self.paper_figure}" if self.paper_figure else ""
        return (
            f"claim {self.claim} of {self.paper} ({where}) {self.verdict}: {self.statement}; measured {self.measured}, "
            f"needed {self.comparison} {self.threshold}{paper}{because}"
        )


def figures_of(measured: Interval | None) -> dict[str, Any]:
    """The fields `value`, `lower`, `upper` and `n` of a claim; None each for a structural one."""
    if measured is None:
        return dict.fromkeys(("value", "lower", "upper", "n"))
    return {"value": measured.value, "lower": measured.lower, "upper": measured.upper, "n": measured.n}


def with_checks(judgement: Judgement, checks: Iterable[str]) -> Judgement:
    """The judgement, unless a check on the evaluation itself was raised: then whatever it says is unreliable."""
    raised = sorted(set(checks))
    if not raised:
        return judgement
    return Judgement(Verdict.UNRELIABLE, "; ".join(raised))


def all_of(judgements: Iterable[Judgement]) -> Judgement:
    """One judgement for a chain: the worst of its links."""
    order = (Verdict.UNRELIABLE, Verdict.FAILS, Verdict.INCONCLUSIVE)
    listed = list(judgements)
    for verdict in order:
        reasons = [j.reason for j in listed if j.verdict is verdict]
        if reasons:
            return Judgement(verdict, "; ".join(reasons))
    return Judgement(Verdict.HOLDS)
