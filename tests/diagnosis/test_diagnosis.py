"""A Diagnosis prints, becomes JSON, raises, and makes a passing verdict unreliable; asked twice it attacks nothing."""

from __future__ import annotations

import json

import masked as m
import pytest
import torch

from pytest_robust.bench.bench import Bench
from pytest_robust.diagnosis.check import Check, Outcome, Severity
from pytest_robust.diagnosis.diagnose import diagnose
from pytest_robust.diagnosis.diagnosis import Diagnosis
from pytest_robust.diagnosis.probes import PROBES
from pytest_robust.errors import SettingsError, UnknownNameError, UnsoundEvaluationError
from pytest_robust.evaluation.verdict import Judgement, Verdict

SILENT = Check("silent", Severity.ERROR, Outcome.SOUND, "Nothing was seen on 9 images.", 9, {"share": float("nan")})
WARNS = Check("warns", Severity.WARNING, Outcome.FLAGGED, "Something odd.", 9)
GRAVE = Check("grave", Severity.ERROR, Outcome.FLAGGED, "All is lost.", 9)
SKIPPED = Check("skipped", Severity.ERROR, Outcome.NOT_APPLICABLE, "There is nothing here.")


def of(*checks: Check) -> Diagnosis:
    return Diagnosis("mine", "pgd(eps=0.1)", checks)


def test_what_was_raised() -> None:
    diagnosis = of(SILENT, WARNS, GRAVE, SKIPPED)
    assert diagnosis.flagged == (WARNS, GRAVE)
    assert diagnosis.errors == (GRAVE,)
    assert diagnosis.warnings == (WARNS,)
    assert not diagnosis.sound
    assert diagnosis["warns"] is WARNS
    assert of(SILENT, SKIPPED).sound


def test_it_shows_itself() -> None:
    diagnosis = of(SILENT, WARNS, GRAVE, SKIPPED)
    text = str(diagnosis)
    assert "mine under pgd(eps=0.1): 4 checks, 1 error, 1 warning, 1 not applicable" in text
    assert all(check.sentence in text for check in diagnosis)
    assert "All is lost." in repr(diagnosis)
    assert "Nothing was seen" not in repr(diagnosis)
    assert diagnosis.markdown().count("\n") == 5


def test_it_is_plain_data() -> None:
    plain = json.loads(of(SILENT, GRAVE).json())
    assert [check["outcome"] for check in plain["checks"]] == ["sound", "flagged"]
    assert plain["checks"][0]["figures"] == {"share": None}
    assert plain["sound"] is False


def test_it_raises_for_errors_or_for_all() -> None:
    with pytest.raises(UnsoundEvaluationError, match=r"mine under pgd.*grave flagged \(error\): All is lost"):
        of(WARNS, GRAVE).raise_if_unsound()
    of(SILENT, WARNS, SKIPPED).raise_if_unsound()
    with pytest.raises(UnsoundEvaluationError, match="Something odd"):
        of(SILENT, WARNS).raise_if_flagged()


@pytest.mark.parametrize(
    ("verdict", "checks", "expected"),
    [
        (Verdict.HOLDS, (GRAVE,), Verdict.UNRELIABLE),
        (Verdict.HOLDS, (WARNS, SILENT, SKIPPED), Verdict.HOLDS),
        (Verdict.FAILS, (GRAVE,), Verdict.FAILS),
        (Verdict.INCONCLUSIVE, (GRAVE,), Verdict.INCONCLUSIVE),
    ],
)
def test_a_raised_error_makes_a_passing_verdict_unreliable(
    verdict: Verdict, checks: tuple[Check, ...], expected: Verdict
) -> None:
    judged = of(*checks).judged(Judgement(verdict))
    assert judged.verdict is expected
    assert ("grave: All is lost" in judged.reason) == (expected is Verdict.UNRELIABLE)


def test_a_second_diagnosis_attacks_nothing_and_says_the_same(bench: Bench) -> None:
    first = diagnose(bench, bench.classifier, images=30)
    crafted = bench.ledger.count("crafted")
    second = diagnose(bench, bench.classifier, images=30)
    assert second.as_dict() == first.as_dict()
    assert bench.ledger.count("crafted") == crafted


def test_it_leaves_no_trace(bench: Bench) -> None:
    model = m.around(m.Noisy, bench.classifier)
    state = torch.get_rng_state()
    before = [p.requires_grad for p in model.parameters()]
    diagnose(bench, model, images=20, checks=[p.name for p in PROBES if p.name != "binarization_test"])
    assert torch.equal(torch.get_rng_state(), state)
    assert [p.requires_grad for p in model.parameters()] == before
    assert not model.training


def test_every_check_runs_alone(bench: Bench) -> None:
    for probe in PROBES:
        diagnosis = diagnose(bench, bench.classifier, images=30, checks=[probe.name])
        assert [check.name for check in diagnosis] == [probe.name]


def test_an_unknown_check_names_the_known_ones(bench: Bench) -> None:
    with pytest.raises(UnknownNameError, match=r"no check 'gradient_availabel'.*gradient_available"):
        diagnose(bench, bench.classifier, checks=["gradient_availabel"])


def test_it_needs_images(bench: Bench) -> None:
    with pytest.raises(SettingsError, match="needs images"):
        diagnose(bench, bench.classifier, images=0)


def test_epsilon_takes_the_steps_along(bench: Bench) -> None:
    diagnosis = diagnose(bench, bench.classifier, eps=0.2, checks=["inputs_in_range"])
    assert "eps=0.2, eps_step=0.02" in diagnosis.attack


def test_foreign_images_have_no_surrogate_of_the_benchs(bench: Bench) -> None:
    foreign = bench.test_split.subset(range(30))
    foreign = type(foreign)((foreign.x + 0.01).clamp(0, 1), foreign.y, 10, "foreign")
    check = "whitebox_beats_transfer"
    assert diagnose(bench, bench.classifier, foreign, checks=[check])[check].outcome is Outcome.NOT_APPLICABLE
    given = diagnose(bench, bench.classifier, foreign, checks=[check], surrogate=bench.surrogate)[check]
    trained = diagnose(bench, bench.classifier, foreign, checks=[check], training=bench.train_split)[check]
    assert {given.outcome, trained.outcome} == {Outcome.SOUND}
