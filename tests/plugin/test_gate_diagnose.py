"""[diagnose] in robust.toml: a model that hides its gradients passes no gate, unless the user says so."""

from __future__ import annotations

import json

import pytest

# pytester forgets what a suite imports: NumPy and torch cannot be loaded twice, and ART takes seconds each time.
import pytest_robust.attacks.pgd  # noqa: F401
from pytest_robust.errors import GateError
from pytest_robust.gate.run import GateRun

#: Two halves whose difference is the label; MASKED hides the gradient behind a rounding of the images.
RELEASE = """
import torch
from torch import nn

class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(32, 2, bias=False)
        with torch.no_grad():
            self.linear.weight.copy_(torch.tensor([[1.0] * 16 + [-1.0] * 16, [-1.0] * 16 + [1.0] * 16]))

    def forward(self, x):
        return self.linear((x * 255).round().div(255).flatten(1) if MASKED else x.flatten(1))

def model():
    return Model().eval()

def data():
    generator = torch.Generator().manual_seed(1)
    y = torch.arange(120) % 2
    x = 0.4 + 0.02 * torch.rand(120, 2, 4, 4, generator=generator)
    x[torch.arange(120), y] += 0.1
    return x, y
"""
GATE = """
[gate]
model = "release:model"
data = "release:data"
{}
[[require]]
at_least = 0.9
[[require]]
attack = "pgd"
eps = 0.01
at_least = 0.9
[diagnose]
attack = "pgd"
eps = 0.01
images = 30
"""


@pytest.fixture
def gate(pytester, monkeypatch):
    """``gate(masked, keys)`` runs pytest on a model with or without a gradient."""
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    monkeypatch.syspath_prepend(pytester.path)

    def run(masked, keys="", *options):
        (pytester.path / "release.py").write_text(f"MASKED = {masked}\n{RELEASE}", encoding="utf-8")
        (pytester.path / "robust.toml").write_text(GATE.format(keys), encoding="utf-8")
        return pytester.runpytest("-p", "no:cacheprovider", "-p", "no:xdist", "--robust-cache=cache", *options)

    return run


@pytest.mark.parametrize("error", [GateError("it cannot be run."), KeyError("a table")])
def test_checks_that_cannot_be_run_are_in_the_reports(pytester, gate, monkeypatch, error):
    def fail(_run):
        raise error

    monkeypatch.setattr(GateRun, "diagnosis", property(fail))
    result = gate(False, "", "--robust-report=report", "-k", "diagnose")
    result.assert_outcomes(failed=1)
    (diagnosis,) = json.loads((pytester.path / "report" / "results.json").read_text(encoding="utf-8"))["diagnoses"]
    assert (diagnosis["outcome"], diagnosis["sound"]) == ("fail", False)
    assert str(error) in diagnosis["error"]
    result.stdout.fnmatch_lines(["checks on the evaluation: they could not be run", f"  *{error}"])


def test_a_sound_evaluation_is_a_test_that_passes(pytester, gate):
    result = gate(False, "", "-v", "--robust-report=report")
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(
        ["robust.toml::diagnose PASSED*", "checks on release:model under pgd(*: 22 checks, 0 err*"]
    )
    (found,) = json.loads((pytester.path / "report" / "results.json").read_text(encoding="utf-8"))["diagnoses"]
    assert (found["model"], found["file"], found["checks"][0]["n"]) == ("release:model", "robust.toml", 30)
    assert "Checks on the evaluation" in (pytester.path / "report" / "summary.md").read_text(encoding="utf-8")


def test_a_raised_error_makes_what_holds_under_the_attack_unreliable_and_fails(gate):
    result = gate(True)
    result.assert_outcomes(passed=1, failed=2)
    result.stdout.fnmatch_lines(
        [
            "pgd eps=0.01 accuracy >= 0.9 is unreliable: measured 1.000 *gradient*",
            "release:model under pgd(*: 22 checks, * errors, *",
            "  gradient_available flagged (error): *",
            "clean accuracy >= 0.9 * holds",
            "pgd eps=0.01 accuracy >= 0.9 * unreliable (fail)",
        ]
    )


def test_the_user_can_let_an_unreliable_requirement_pass_and_the_report_still_says_so(gate):
    result = gate(True, 'unreliable = "pass"')
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["pgd eps=0.01 accuracy >= 0.9 * unreliable (pass)", "  gradient_available flagged *"])


def test_a_failure_stays_one_whatever_the_checks_say(gate, pytester):
    (pytester.path / "robust.toml").unlink(missing_ok=True)
    result = gate(False, "", "-k", "pgd")
    result.assert_outcomes(passed=1)
    (pytester.path / "robust.toml").write_text(
        GATE.format('unreliable = "pass"').replace("eps = 0.01\nat_least = 0.9", "eps = 0.3\nat_least = 0.9"),
        encoding="utf-8",
    )
    failed = pytester.runpytest("-p", "no:cacheprovider", "-p", "no:xdist", "--robust-cache=cache", "-k", "pgd")
    failed.assert_outcomes(failed=1)
    failed.stdout.fnmatch_lines(["pgd eps=0.3 accuracy >= 0.9 fails: *"])


def test_the_last_line_and_the_comment_name_a_failed_diagnosis(pytester, gate):
    result = gate(True, "", "-q", "-k", "diagnose or clean", "--robust-report=report")
    result.stdout.fnmatch_lines(["robust: 1 requirement: 1 holds; [[]diagnose] failed; *"])
    summary = (pytester.path / "report" / "summary.md").read_text(encoding="utf-8")
    assert summary.startswith("## Robustness: all 1 requirements met; [diagnose] failed\n")
