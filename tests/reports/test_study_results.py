"""results.json holds every study once, whoever made it, and the docs' page shows its tables."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from pytest_robust.evaluation.rate import Rate
from pytest_robust.reports.bars import draw_bar_panels
from pytest_robust.reports.results import write_results
from pytest_robust.studies.portability import PortabilityMatrix


@pytest.fixture
def matrix() -> PortabilityMatrix:
    k, n = torch.tensor([[5, 1], [0, 4]]), torch.tensor([5, 4])
    return PortabilityMatrix(
        "two", "images", ("a", "b"), {"a": None, "b": None}, 5, {"fgs": k}, {"fgs": n}, {"fgs": ()}
    )


def test_a_study_of_two_workers_is_there_once(tmp_path: Path, matrix: PortabilityMatrix) -> None:
    event = {"event": "studied", "name": "portability matrix", "seconds": 0.0, "study": matrix.as_dict()}
    path = write_results(tmp_path, [], [event, dict(event)], {}, {})
    (found,) = json.loads(path.read_text(encoding="utf-8"))["studies"]
    assert PortabilityMatrix.from_dict(found).table() == matrix.table()


def test_a_run_without_studies_has_none(tmp_path: Path) -> None:
    assert json.loads(write_results(tmp_path, [], [], {}, {}).read_text(encoding="utf-8"))["studies"] == []


def test_panels_may_lack_a_figure(tmp_path: Path) -> None:
    panels = {"one": {"net": {"fgs": Rate(1, 2)}}, "two": {"net": {"fgs": Rate(0, 0), "fgv": Rate(2, 2)}}}
    assert draw_bar_panels(tmp_path / "panels.png", "title", panels, columns=2).stat().st_size > 0
