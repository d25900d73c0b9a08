"""The examples run, and the pages that show them show them as they are."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("page", "example"),
    [("writing-a-defense.md", "own-defense")],
)
def test_page_shows_the_example_as_it_is(page: str, example: str) -> None:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    files = sorted((ROOT / "examples" / example).glob("*.py"))
    assert files
    for file in files:
        assert file.read_text(encoding="utf-8").rstrip() in text, f"{page} does not show {file.name} as it is"


def test_own_defense_runs(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "pytest",
        str(ROOT / "examples" / "own-defense"),
        f"--robust-cache={tmp_path}",
        "-q",
    ]
    run = subprocess.run(
        [*command, "-p", "no:cacheprovider"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "3 passed" in run.stdout


def run_example(name: str, cache: Path) -> subprocess.CompletedProcess[str]:
    """An example's tests, run as its user would, from its folder."""
    command = [sys.executable, "-m", "pytest", f"--robust-cache={cache}", "-p", "no:cacheprovider"]
    folder = ROOT / "examples" / name
    env = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_gate_pytest_runs_and_attacks_nothing_the_second_time(tmp_path: Path) -> None:
    first, second = (run_example("gate-pytest", tmp_path) for _ in range(2))
    assert first.returncode == 0, first.stdout + first.stderr
    assert "4 passed" in first.stdout
    assert "crafted 3 adversarial sets" in first.stdout
    assert second.returncode == 0, second.stdout + second.stderr
    assert "attacked nothing" in second.stdout


def test_properties_run(tmp_path: Path) -> None:
    copy = shutil.copytree(ROOT / "examples" / "properties", tmp_path / "properties")
    command = [sys.executable, "-m", "pytest", "-q", "--robust-report=report"]
    run = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "1 passed, 1 xfailed" in run.stdout
    assert list((copy / "report" / "robust-properties").glob("*.png"))


def test_one_papers_defense_selects_that_papers_tests_alone() -> None:
    command = [sys.executable, "-m", "pytest", "robustness_tests", "--collect-only", "-q", "--defense=dustbin"]
    run = subprocess.run(
        [*command, "-p", "no:cacheprovider"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )
    chosen = {line.partition("::")[0] for line in run.stdout.splitlines() if "::" in line}
    assert chosen == {"robustness_tests/test_dustbin.py"}


def test_gate_toml_saves_a_baseline_and_attacks_nothing_the_second_time(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "examples" / "gate-toml", tmp_path / "project", ignore=shutil.ignore_patterns("*.pt"))
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--robust-cache=cache",
        "-p",
        "no:cacheprovider",
        "--robust-report=report",
    ]

    def run(option: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*command, option], cwd=tmp_path / "project", capture_output=True, text=True, check=False)

    first, second = run("--robust-save-baseline=base.json"), run("--robust-baseline=base.json")
    assert first.returncode == 0, first.stdout + first.stderr
    assert "4 passed, 1 skipped" in first.stdout
    assert second.returncode == 0, second.stdout + second.stderr
    assert "5 passed" in second.stdout
    report = tmp_path / "project" / "report"
    results = json.loads((report / "results.json").read_text(encoding="utf-8"))
    assert [row["verdict"] for row in results["requirements"]] == ["holds"] * 5
    assert results["spent"]["sets_crafted"] == 0
    assert (report / "summary.md").read_text(encoding="utf-8").startswith("## Robustness: all 5 requirements met")
