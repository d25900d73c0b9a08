"""A release whose gradients are masked passes no gate, neither by a test nor by robust.toml, with default settings."""

from __future__ import annotations

import pytest

# pytester forgets what a suite imports: NumPy and torch cannot be loaded twice, and ART takes seconds each time.
import pytest_robust.attacks.apgd
import pytest_robust.attacks.pgd
import pytest_robust.gate.run  # noqa: F401

RELEASE = """
import torch
from torch import nn
from pytest_robust.attacks.common_checks import toy_classifier, toy_split

class Release(nn.Module):
    def __init__(self, mask):
        super().__init__()
        self.inner, self.mask = toy_classifier(), mask

    def forward(self, x):
        if self.mask == "detached":
            return self.inner(x.detach()) + 1e-3 * x.flatten(1)[:, :4]
        if self.mask == "staircase":
            steps = (x * 16).round() / 16
            return self.inner(steps + (x - steps) * -0.05)
        return self.inner(x) * (1e4 if self.mask == "saturated" else 1)

def detached(): return Release("detached").eval()
def staircase(): return Release("staircase").eval()
def saturated(): return Release("saturated").eval()
def sound(): return Release("").eval()
def data(): return toy_split(80, seed=3)
"""
TEST = """
import release

def test_release(robust):
    result = robust.evaluate(release.{model}(), release.data(), attack="{attack}", eps=0.02{more})
    assert result.accuracy.lower >= 0.9
"""
GATE = """
[gate]
model = "release:{model}"
data = "release:data"
[[require]]
attack = "{attack}"
eps = 0.02
at_least = 0.9
{more}
"""


@pytest.fixture
def suite(everything_is_loaded, pytester, monkeypatch):
    """``suite(file, text)`` runs a user's file beside the release."""
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    monkeypatch.syspath_prepend(pytester.path)

    def run(file, text):
        (pytester.path / "release.py").write_text(RELEASE, encoding="utf-8")
        (pytester.path / file).write_text(text, encoding="utf-8")
        return pytester.runpytest(
            "-p", "no:cacheprovider", "-p", "no:xdist", "--robust-cache=cache", "--device=cpu", file
        )

    return run


MASKED = [("detached", "pgd", "withstand PGD"), ("staircase", "fgsm", "withstand PGD")]


@pytest.mark.parametrize(("model", "attack", "says"), MASKED)
def test_an_assertion_on_masked_gradients_does_not_pass(suite, model, attack, says):
    result = suite("test_release.py", TEST.format(model=model, attack=attack, more=""))
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f"*{says}*"])


def test_an_assertion_on_a_saturated_loss_does_not_pass(suite):
    more = ', loss_type="cross_entropy", steps=5'
    result = suite("test_release.py", TEST.format(model="saturated", attack="apgd", more=more))
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*gradient is exactly zero*"])


@pytest.mark.parametrize("sequential", ["", "sequential = true"])
def test_a_requirement_on_masked_gradients_is_unreliable(suite, sequential):
    result = suite("robust.toml", GATE.format(model="staircase", attack="fgsm", more=sequential))
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*accuracy >= 0.9 is unreliable: *withstand PGD without a budget*"])


def test_the_same_release_without_a_mask_passes(suite):
    suite("test_release.py", TEST.format(model="sound", attack="pgd", more="")).assert_outcomes(passed=1)
    suite("robust.toml", GATE.format(model="sound", attack="pgd", more="")).assert_outcomes(passed=1)
