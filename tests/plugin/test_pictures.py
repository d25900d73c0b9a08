"""A picture's file: another one for another test, of a name that every file system takes; and no reason to fail."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from pytest_robust.gate.worst import WorstImages
from pytest_robust.harness.pictures import file_name, picture_of, pictures_of
from pytest_robust.threats.decision import Decision

PLACES = [
    *(f"tests/test_a.py::test_x[{value}]-1" for value in ("0.5", "-0.5", "8/255", "8-255", "a" * 300, "a" * 300 + "b")),
    "tests/test_a.py::test_x-1",
    "tests/test_a.py::TestIt::test_x-1",
    "tests/test-a.py::test_x-1",
    "robust.toml-14",
]


def one() -> WorstImages:
    answers = Decision(torch.tensor([1]), torch.tensor([False]), torch.zeros(1))
    return WorstImages([1], torch.tensor([1]), torch.rand(1, 1, 8, 8), answers)


def test_every_place_has_a_file_of_its_own():
    names = [file_name(place) for place in PLACES]
    assert len(set(names)) == len(PLACES)
    assert max(map(len, names)) < 120
    assert [names[6], names[-1]] == ["tests-test_a.py-test_x-1", "robust.toml-14"], "plain names stay as they are"


@pytest.mark.parametrize("title", ["clean accuracy 0.5", "of $model_{1$ and $x^$"])
def test_a_picture_is_drawn_whatever_the_test_is_called(tmp_path: Path, title: str):
    picture = picture_of(tmp_path, PLACES[4], title, one)
    assert picture.problem == ""
    assert (tmp_path / picture.name).is_file()
    assert picture_of(None, "robust.toml-1", title, one).name == ""


@pytest.mark.parametrize("name", ["../worst-x.png", "worst-../x.png", "/worst-x.png", "figure.png", "", None, 3])
def test_only_pictures_in_the_folder_are_listed_as_ours(tmp_path: Path, name: object):
    document = {"requirements": [{"picture": name}, {}], "results": [{"picture": "worst-a.png"}]}
    (tmp_path / "results.json").write_text(json.dumps(document))
    assert pictures_of(tmp_path) == {"worst-a.png"}


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"requirements": 3, "results": []}', '{"requirements": [1]}'])
def test_a_file_that_is_no_report_lists_no_pictures(tmp_path: Path, text: str):
    assert pictures_of(tmp_path / "nowhere") == set()
    (tmp_path / "results.json").write_text(text)
    assert pictures_of(tmp_path) == set()


def test_a_picture_that_cannot_be_drawn_is_said_and_raises_nothing(tmp_path: Path):
    (tmp_path / "report").write_text("a file")
    picture = picture_of(tmp_path / "report", "robust.toml-1", "title", one)
    assert picture.name == ""
    assert picture.problem.startswith(f"the worst images cannot be drawn into {tmp_path / 'report'} (")
