"""The page on verdicts shows the figures of the committed results, and its code runs."""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "verdicts.md"


def test_its_tables_are_what_the_results_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    verdicts = importlib.import_module("verdicts")
    figures = json.loads(verdicts.RESULTS.read_text(encoding="utf-8"))
    text = PAGE.read_text(encoding="utf-8")
    assert text == verdicts.page(text, figures)
    assert "| sequential" in text


def test_its_code_runs(capsys: pytest.CaptureFixture[str]) -> None:
    outcomes = torch.rand(5000, generator=torch.Generator().manual_seed(0)) < 0.6
    names = {"batches": outcomes.split(100), "old_right": outcomes, "new_right": outcomes}
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        exec(block, names)
    assert capsys.readouterr().out.splitlines()[0].endswith("holds")
