"""A module of a folder is that folder's, whatever another folder has under the same name."""

from __future__ import annotations

import importlib
import pickle
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from pytest_robust.attacks.common_checks import toy_classifier
from pytest_robust.errors import ModelError
from pytest_robust.gate.named import made_by
from pytest_robust.models.structure import structure_fingerprint

NETS = """
    from torch import nn

    class Net(nn.Linear):
        def forward(self, x):
            return {sign} * super().forward(x)
"""
RELEASE = """
    import torch
    {imports}

    calls = []

    def model():
        calls.append(1)
        torch.manual_seed(0)
        return Net(4, 2)

    def how_often():
        return list(calls)
"""
#: How release.py comes to its network, and where that stands.
LAYOUTS = {
    "a file": ("release", "from shared_nets import Net", "shared_nets"),
    "a folder": ("release", "from shared_lib.nets import Net", "shared_lib/nets"),
    "a package": ("shared_mine.release", "from .nets import Net", "shared_mine/nets"),
    "a package, both ways": (
        "shared_mine.release",
        "from .nets import Net\n    import shared_mine.nets\n    assert shared_mine.nets.Net is Net",
        "shared_mine/nets",
    ),
}

#: How the names of modules that are imported here begin.
OURS = ("release", "shared_", "pytest_robust_gate_")


@pytest.fixture(autouse=True)
def modules_are_restored(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield
    for name in [name for name in sys.modules if name.startswith(OURS)]:
        del sys.modules[name]


@pytest.fixture
def root(tmp_path: Path) -> Callable[..., Path]:
    """``root(folder, {path: code})`` writes files; a package's folder has an ``__init__.py`` where one is named."""

    def write(folder: str, files: dict[str, str]) -> Path:
        for name, code in files.items():
            path = tmp_path / folder / f"{name}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(code), encoding="utf-8")
        return tmp_path / folder

    return write


@pytest.fixture(params=LAYOUTS)
def two(request: pytest.FixtureRequest, root: Callable[..., Path]) -> tuple[str, Path, Path]:
    """The name of a module that two folders have, alike to the letter, and these; what it imports differs in a sign."""
    module, imports, nets = LAYOUTS[request.param]
    files = {module.replace(".", "/"): RELEASE.format(imports=imports)}
    if "." in module:
        files["shared_mine/__init__"] = ""
    one, other = (root(folder, {**files, nets: NETS.format(sign=sign)}) for folder, sign in (("a", "1"), ("b", "-1")))
    return module, one, other


def made(text: str, root: Path) -> Any:
    return made_by(text, "model", root, ModelError)


def test_each_folder_has_its_own_helpers_and_counts_by_them(two):
    module, one, other = two
    first, second = made(f"{module}:model", one), made(f"{module}:model", other)
    x = torch.rand(3, 4)
    assert torch.equal(first(x), -second(x))
    assert structure_fingerprint(first) != structure_fingerprint(second)
    again = made(f"{module}:model", one)
    assert type(again) is type(first)
    assert structure_fingerprint(again) == structure_fingerprint(first)


def test_a_module_is_read_once_and_its_classes_can_be_pickled(two):
    module, one, other = two
    for folder in (one, other):
        assert made(f"{module}:how_often", folder) == []
        network = made(f"{module}:model", folder)
        assert made(f"{module}:how_often", folder) == [1]
        assert type(pickle.loads(pickle.dumps(network))) is type(network)


def test_an_edit_beside_one_folders_file_changes_that_folders_fingerprint_alone(two, tmp_path):
    module, one, other = two
    networks = [made(f"{module}:model", folder) for folder in (one, other)]
    before = [structure_fingerprint(network) for network in networks]
    nets = next(path for path in other.rglob("*nets.py"))
    nets.write_text(f"{nets.read_text()}\n# edited", encoding="utf-8")
    after = [structure_fingerprint(network) for network in networks]
    assert [old == new for old, new in zip(before, after, strict=True)] == [True, False]


def test_a_folder_above_is_another_folder(root):
    files = {"release": RELEASE.format(imports="Net = torch.nn.Linear")}
    below, above = root("top/sub", files), root("top", files)
    made("release:model", below)
    assert made("release:how_often", above) == []


def test_what_a_test_has_imported_from_the_folder_stays_what_it_is(root):
    one, other = (root(folder, {"shared_nets": NETS.format(sign=1)}) for folder in "ab")
    root("b", {"release": RELEASE.format(imports="from shared_nets import Net")})
    sys.path.insert(0, str(other))
    release = importlib.import_module("release")
    sys.path[0] = str(one)
    del sys.modules["shared_nets"]
    importlib.import_module("shared_nets")
    assert type(made("release:model", other)) is release.Net
    assert release.calls == [1]


def test_modules_keep_their_names_where_none_is_taken(root):
    network = made("release:model", root("a", {"release": RELEASE.format(imports="Net = torch.nn.Linear")}))
    assert isinstance(network, torch.nn.Linear)
    assert sys.modules["release"].calls == [1]


def test_an_installed_package_is_the_one_that_everybody_has(root):
    for folder in "ab":
        here = root(folder, {"release": "", "shared_nets": ""})
        made("release:__name__", here)
        network = made("pytest_robust.attacks.common_checks:toy_classifier", here)
        assert type(network) is type(toy_classifier())
        assert made("torch.nn:Linear.__name__", here) == "Linear"


def test_a_copy_in_the_folder_comes_before_an_installed_package_that_was_imported(root, monkeypatch):
    installed = root("site-packages", {"shared_mine/__init__": "", "shared_mine/release": "where = 'installed'"})
    here = root("a", {"shared_mine/__init__": "", "shared_mine/release": "where = 'here'"})
    monkeypatch.syspath_prepend(installed)
    held = importlib.import_module("shared_mine.release")
    assert made("shared_mine.release:where", here) == "here"
    assert made("shared_mine.release:where", root("b", {"other": ""})) == "installed"
    assert sys.modules["shared_mine.release"] is held


def test_a_file_that_has_the_name_of_one_of_pythons_is_refused(root):
    importlib.import_module("colorsys")
    here = root("a", {"colorsys": "def model(): pass"})
    with pytest.raises(ModelError, match=r"Python has .*colorsys\.py for 'colorsys' and cannot take .*a/colorsys\.py"):
        made("colorsys:model", here)


def test_the_folder_stays_on_the_path_and_so_does_what_its_module_puts_there(root):
    one = root("a", {"release": "import sys\nsys.path.insert(0, 'third-party')\nwhere = 'a'"})
    other = root("b", {"release": "where = 'b'"})
    before = [*sys.path]
    assert [made("release:where", folder) for folder in (one, other, one, other)] == ["a", "b", "a", "b"]
    assert sorted(sys.path) == sorted([str(one), str(other), "third-party", *before])
