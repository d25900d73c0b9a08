"""Code counts: an edit to any of the user's files that a defense needs changes its fingerprint, and no other edit."""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pytest_robust.store.code import code_fingerprint

FILES = {
    "mine_defense.py": "import mine_helper\nfrom mine_package import rules\ndecide = lambda x: mine_helper.answer(x)\n",
    "mine_helper.py": "def answer(x):\n    import mine_lazy\n    return mine_lazy.VALUE + x\n",
    "mine_lazy.py": "VALUE = 1\n",
    "mine_package/__init__.py": "",
    "mine_package/rules.py": "from . import more\n",
    "mine_package/more.py": "LIMIT = 3\n",
    "mine_stranger.py": "nobody = 'imports this'\n",
}


@pytest.fixture
def decide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("mine_defense").decide
    for name in [name for name in sys.modules if name.startswith("mine_")]:
        del sys.modules[name]


@pytest.mark.parametrize("name", [name for name in FILES if name != "mine_stranger.py"])
def test_an_edit_to_whatever_is_imported_counts(decide: Any, tmp_path: Path, name: str) -> None:
    before = code_fingerprint(decide)
    assert code_fingerprint(decide) == before
    (tmp_path / name).write_text(FILES[name] + "\n# edited\n")
    assert code_fingerprint(decide) != before


def test_a_file_that_nobody_imports_does_not_count(decide: Any, tmp_path: Path) -> None:
    before = code_fingerprint(decide)
    (tmp_path / "mine_stranger.py").write_text("nobody = 'edits this'\n")
    assert code_fingerprint(decide) == before


def test_partials_and_callable_objects_count_by_their_code(decide: Any, tmp_path: Path) -> None:
    assert code_fingerprint(functools.partial(decide, 1)) == code_fingerprint(decide)
    before = code_fingerprint(functools.partial(decide, 1))
    (tmp_path / "mine_lazy.py").write_text("VALUE = 2\n")
    assert code_fingerprint(functools.partial(decide, 1)) != before


def test_objects_without_source_have_a_fingerprint_too() -> None:
    assert code_fingerprint(len) == code_fingerprint(len)
    assert code_fingerprint(len) != code_fingerprint(code_fingerprint)


def test_packages_of_another_environment_are_not_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packages = tmp_path / "lib" / "site-packages"
    packages.mkdir(parents=True)
    (packages / "mine_installed.py").write_text("VALUE = 1\n")
    (tmp_path / "mine_user.py").write_text("import mine_installed\ndecide = lambda x: mine_installed.VALUE\n")
    monkeypatch.syspath_prepend(packages)
    monkeypatch.syspath_prepend(tmp_path)
    decide = importlib.import_module("mine_user").decide
    before = code_fingerprint(decide)
    (packages / "mine_installed.py").write_text("VALUE = 2\n")
    assert code_fingerprint(decide) == before
    for name in ("mine_user", "mine_installed"):
        sys.modules.pop(name, None)
