"""What a verdict means for the build, where the images cannot decide or the evaluation is in doubt."""

from __future__ import annotations

import pytest

from pytest_robust.evaluation.verdict import Judgement, Verdict
from pytest_robust.gate.judging import Judged, reliable
from pytest_robust.gate.requirements import OUTCOMES, Gate, Requirement

DOUBTS = ("the gradients are zero",)


def outcome(judgement, comparison="at_least", doubts=(), **keys):
    requirement = Requirement("accuracy", comparison, 0.5)
    gate = Gate("m", "d", (requirement,), **keys)
    return Judged(gate, requirement, None, reliable(judgement, doubts), doubts=doubts).outcome


@pytest.mark.parametrize("verdict", [Verdict.FAILS, Verdict.INCONCLUSIVE])
def test_accepting_figures_in_doubt_accepts_no_requirement_that_is_not_met(verdict):
    assert outcome(Judgement(Verdict.HOLDS), doubts=DOUBTS, unreliable="pass") == "pass"
    assert outcome(Judgement(verdict), doubts=DOUBTS, unreliable="pass") == "fail"


@pytest.mark.parametrize("unreliable", OUTCOMES)
@pytest.mark.parametrize("inconclusive", OUTCOMES)
@pytest.mark.parametrize("comparison", ["at_least", "max_drop_from_baseline"])
def test_of_what_is_undecided_and_in_doubt_the_stricter_outcome_counts(comparison, inconclusive, unreliable):
    keys = {"inconclusive": inconclusive, "unreliable": unreliable}
    strictest = "fail" if "fail" in keys.values() else "skip" if "skip" in keys.values() else "pass"
    assert outcome(Judgement(Verdict.INCONCLUSIVE), comparison, DOUBTS, **keys) == strictest
    assert outcome(Judgement(Verdict.INCONCLUSIVE), comparison, **keys) == inconclusive


def test_a_drop_that_is_not_significant_passes_unless_it_is_in_doubt():
    undecided = Judgement(Verdict.INCONCLUSIVE)
    assert outcome(undecided, "max_drop_from_baseline") == "pass"
    assert outcome(undecided, "max_drop_from_baseline", DOUBTS) == "fail"
    assert outcome(undecided) == "fail"
