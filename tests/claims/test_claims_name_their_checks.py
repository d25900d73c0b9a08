"""No claim of the papers' suites about an attack leaves out the signs that the attack did not work."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import torch

from pytest_robust.attacks.adversarial_set import AdversarialSet
from pytest_robust.data.split import Split

SUITE = Path(__file__).parents[2] / "robustness_tests"


@pytest.mark.parametrize("paper", ["dustbin", "ensembles", "exploring", "mismatch"])
def test_every_claim_about_an_attack_is_given_its_checks(paper: str) -> None:
    module = SUITE / f"test_{paper}.py"
    calls = [node for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
    claims = [call for call in calls if isinstance(call.func, ast.Attribute) and call.func.attr == "claim"]
    assert claims
    for call in claims:
        given = {keyword.arg for keyword in call.keywords}
        assert "attack" not in given or "checks" in given, f"{module.name}, line {call.lineno}"


def test_noise_and_blur_may_fail_where_gradient_attacks_may_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SUITE))
    from mismatch_study import DEGRADATIONS, GRADIENT, signs

    clean = Split(torch.zeros(9, 1, 2, 2), torch.zeros(9, dtype=torch.int64), 3)
    failed = torch.zeros(9, dtype=torch.bool)
    made = AdversarialSet(clean, clean.x, failed, failed, provenance={"budget": None})
    assert all("0.0%" in sign for attack in GRADIENT for sign in signs(attack, made))
    assert all(signs(attack, made) for attack in GRADIENT)
    assert not any(signs(attack, made) for attack in DEGRADATIONS)
    assert not any(signs(attack, made, must_succeed=False) for attack in GRADIENT), "a detector's images: clean ones"
    wavering = AdversarialSet(clean, clean.x, failed, ~failed, provenance={"budget": None})
    assert all(signs(attack, wavering, must_succeed=False) for attack in (*GRADIENT, *DEGRADATIONS))
