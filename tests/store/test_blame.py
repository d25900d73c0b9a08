"""Of somebody else's error: what it says, and the last line of the user's own code that led to it."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest
import torch

from pytest_robust.store.blame import LONGEST, is_about_shapes, told, users_place, warn_user


def raised(source: str, folder: Path) -> BaseException:
    """The error of a user's file."""
    file = folder / "mine.py"
    file.write_text(source, encoding="utf-8")
    with pytest.raises(Exception) as caught:  # noqa: PT011  # every kind of it
        runpy.run_path(str(file), run_name="mine")
    return caught.value


def test_a_bug_is_told_with_its_line(tmp_path, monkeypatch):
    error = raised("\n\n1 / 0\n", tmp_path)
    assert told(error) == f"ZeroDivisionError: division by zero ({tmp_path / 'mine.py'}:3)"
    monkeypatch.chdir(tmp_path)
    assert users_place(error) == "mine.py:3"


@pytest.mark.parametrize("call", ["json.loads('no')", "torch.zeros(3) @ torch.zeros(4)", "torch.nn.Module().nothing"])
def test_a_librarys_error_is_told_with_the_users_line_and_not_the_librarys(tmp_path, call):
    assert users_place(raised(f"import json, torch\n{call}\n", tmp_path)) == f"{tmp_path / 'mine.py'}:2"


def test_no_line_of_the_users_is_no_place(tmp_path):
    with pytest.raises(json.JSONDecodeError) as caught:
        json.loads("no")
    error = caught.value.with_traceback(caught.value.__traceback__.tb_next)  # without the frame of this test
    assert users_place(error) == ""
    assert told(error) == "JSONDecodeError: Expecting value: line 1 column 1 (char 0)"


def test_a_message_without_words_or_with_too_many_is_one_line():
    assert told(ValueError()) == "ValueError"
    long = told(ValueError("many words\n" * 100))
    assert "\n" not in long
    assert len(long) <= LONGEST + len("ValueError: ")


def test_only_errors_about_shapes_are_the_images_fault():
    with pytest.raises(RuntimeError) as caught:
        torch.nn.Linear(3, 2)(torch.zeros(1, 4))
    assert is_about_shapes(caught.value)
    with pytest.raises(RuntimeError) as caught:
        torch.nn.Conv2d(3, 2, 1)(torch.zeros(1, 1, 4, 4))
    assert is_about_shapes(caught.value)
    assert not is_about_shapes(AttributeError("'M' object has no attribute 'size'"))
    assert not is_about_shapes(RuntimeError("the server is down"))


def deep_inside(name, call):
    """A function of the module `name` that calls `call`."""
    module = {"__name__": name, "call": call}
    exec(compile("def run():\n    call()\n", f"/nowhere/{name}.py", "exec"), module)
    return module["run"]


@pytest.mark.parametrize("between", [(), ("pytest_robust.gate.robust",), ("pytest_robust.bench.bench", "json.decoder")])
def test_a_warning_is_about_the_users_line_however_deep_it_arises(between):
    code = {"__name__": "pytest_robust.x", "warn_user": warn_user}
    exec("def call(): warn_user(UserWarning('it is so'))", code)
    call = code["call"]
    for name in between:
        call = deep_inside(name, call)
    with pytest.warns(UserWarning, match="it is so") as warned:
        call()
    assert warned[0].filename == __file__
