"""results.json holds every study once, whoever made it, and the docs' page shows its tables."""

from __future__ import annotations

import dataclasses
import itertools
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from matplotlib.figure import Figure

from pytest_robust.evaluation.rate import Rate
from pytest_robust.reports.bars import WIDEST, draw_bar_panels
from pytest_robust.reports.heat_maps import MOST_NUMBERED, draw_heat_maps
from pytest_robust.reports.results import write_results
from pytest_robust.reports.study_figures import draw_portability
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


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Figures in the order in which they were saved."""
    saved: list[Any] = []
    monkeypatch.setattr(Figure, "savefig", lambda self, *_args, **_settings: saved.append(self))
    return saved


def heat_map(path: Path, networks: int) -> Path:
    names, cells = [f"net {i}" for i in range(networks)], torch.rand(networks, networks)
    return draw_heat_maps(path, "title", {"fgs": cells}, names, names, row_label="rows", column_label="columns")


def names_overlap(axis: Any) -> bool:
    """Whether the names along the side of the rows stand on each other."""
    boxes = [label.get_window_extent() for label in axis.get_yticklabels()]
    return any(low.overlaps(high) for low, high in itertools.pairwise(boxes))


def test_cells_of_many_networks_share_the_room_and_have_no_numbers(tmp_path: Path, drawn: list[Any]) -> None:
    for networks in (MOST_NUMBERED, MOST_NUMBERED + 1, 200):
        heat_map(tmp_path / "cells.png", networks)
    few, more, many = drawn
    assert [len(figure.axes[0].texts) for figure in drawn] == [MOST_NUMBERED**2, 0, 0]
    assert len(more.axes[0].get_yticks()) == MOST_NUMBERED + 1
    assert many.get_size_inches().max() < 1.1 * few.get_size_inches().max()
    many.draw_without_rendering()
    assert many.axes[0].images[0].get_array().shape == (200, 200)
    assert not names_overlap(many.axes[0])


def test_bars_of_many_networks_fit_a_picture(tmp_path: Path, drawn: list[Any]) -> None:
    settings = {f"net {i}\n90 %": {attack: Rate(i, 300) for attack in ("fgs", "fgv")} for i in range(300)}
    draw_bar_panels(tmp_path / "bars.png", "title", {"one": settings, "two": settings}, columns=2)
    (figure,) = drawn
    assert figure.get_size_inches().max() <= WIDEST
    assert [len(axis.patches) for axis in figure.axes] == [600, 600]
    assert 50 < len(figure.axes[0].get_xticks()) < 150


def test_a_title_that_is_too_long_is_broken(tmp_path: Path, matrix: PortabilityMatrix, drawn: list[Any]) -> None:
    draw_portability(tmp_path / "cells.png", dataclasses.replace(matrix, family="a family with a long name"))
    (figure,) = drawn
    figure.draw_without_rendering()
    title = figure._suptitle.get_window_extent()
    assert 0 < title.x0 < title.x1 < figure.bbox.width
    assert " ".join(figure.get_suptitle().split()).startswith("a family with a long name on images: adversarial")
