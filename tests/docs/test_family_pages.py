"""The family that docs/families.md shows runs as it stands there, and is too small for a verdict on its order."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_robust.bench.bench import Bench
from pytest_robust.bench.settings import Settings
from pytest_robust.errors import FamilyError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def family_file(tmp_path: Path) -> Path:
    """The page's three networks in a file of the name that the page gives it."""
    page = (ROOT / "docs" / "families.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(# nearest_mean\.py\n.*?)```", page, re.DOTALL)
    path = tmp_path / "nearest_mean.py"
    path.write_text(code, encoding="utf-8")
    return path


@pytest.mark.slow
def test_three_networks_are_ranked_and_their_order_is_not_judged(family_file: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pytest", "robustness_tests/test_accuracy_robustness.py", "-p", "no:cacheprovider"]
    chosen = ["-k", "grow or falls", f"--family={family_file}:models", f"--robust-cache={tmp_path / 'cache'}"]
    run = subprocess.run(
        [*command, *chosen], cwd=ROOT, capture_output=True, text=True, encoding="utf-8", check=False, timeout=300
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "9 figures for information" in run.stdout
    assert " hold" not in run.stdout
    assert re.search(r"robustness ranking of .*nearest_mean\.py:models", run.stdout)
    ranking = re.findall(r"^(mean_\d) +[\d.]+ % ", run.stdout, re.MULTILINE)
    assert sorted(ranking) == sorted(3 * ["mean_2", "mean_4", "mean_8"])
    assert run.stdout.count("5 networks or more could tell") == 1


def test_the_study_asks_for_a_broken_family_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.syspath_prepend(ROOT / "robustness_tests")
    from accuracy_robustness_study import AccuracyRobustnessStudy

    (tmp_path / "broken.py").write_text("def models():\n    return {}['deep']\n", encoding="utf-8")
    study = AccuracyRobustnessStudy(
        Bench(Settings(cache=tmp_path / "cache", family=f"{tmp_path / 'broken.py'}:models"))
    )
    with pytest.raises(FamilyError, match="KeyError: 'deep'"):
        study.crossed  # noqa: B018
    with pytest.raises(FamilyError, match=r"^the family cannot be loaded, for the reason that the first test"):
        study.crossed  # noqa: B018
