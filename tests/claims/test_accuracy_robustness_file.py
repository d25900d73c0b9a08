"""The file of the accuracy and robustness paper: complete for what its tests ask, and the marks of these tests."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pytest_robust.claims.paper import Paper

ROOT = Path(__file__).parents[2]
PAPER = Paper.read(ROOT / "robustness_tests" / "claims" / "accuracy_robustness.toml")


@pytest.mark.parametrize("dataset", ["digits", "mnist", "imagenet", "cifar10"])
@pytest.mark.parametrize("attack", ["fgs", "fgv", "hot_cold"])
def test_every_attack_has_parameters_everywhere(dataset: str, attack: str) -> None:
    assert set(PAPER.attack_params(dataset, "quick", attack)) <= {"hot"}


def test_the_threshold_is_asserted_on_the_papers_own_data_set_only() -> None:
    assert PAPER.threshold("imagenet", "hot_cold_success") == 0.99
    assert PAPER.threshold("digits", "hot_cold_success") is None


def test_every_contradicted_entry_names_its_family_its_seed_and_its_figure() -> None:
    for entry in PAPER.data.get("contradicted", []):
        assert entry["family"]
        assert entry["seed"] == 0
        assert any(character.isdigit() for character in entry["measured"])


@pytest.mark.parametrize(("defense", "chosen"), [("none", True), ("ensemble", False)])
def test_undefended_networks_are_selected_as_the_defense_none(defense: str, chosen: bool) -> None:
    command = [sys.executable, "-m", "pytest", "robustness_tests/test_accuracy_robustness.py", "--collect-only", "-q"]
    run = subprocess.run(
        [*command, f"--defense={defense}", "-p", "no:cacheprovider"],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert ("test_pass_falls_with_accuracy[fgs]" in run.stdout) is chosen
