"""The family that docs/families.md shows runs as it stands there, and is too small for a verdict on its order."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

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
    assert "robustness ranking of nearest_mean.py:models" in run.stdout
    ranking = re.findall(r"^fgs +(mean_\d) +[\d.]+ % ", run.stdout, re.MULTILINE)
    assert sorted(ranking) == ["mean_2", "mean_4", "mean_8"]
