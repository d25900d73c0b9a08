"""What a notebook defines counts by its code, though it stands in no file."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import nn

from pytest_robust.models.classifier import Classifier
from pytest_robust.store.code import code_fingerprint

CELL = """
import functools
import torch
from torch import nn
import mine_beside

SCALE = 1.0
UNUSED = 1

def helper(x):
    return SCALE * x

class Straight(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.round()

    @staticmethod
    def backward(ctx, gradient):
        return gradient

class Base(nn.Module):
    LIMIT = 3

    @property
    def factor(self):
        return 1

class Net(Base):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 3)

    @torch.no_grad()
    def look(self):
        return 1

    def forward(self, x):
        return self.linear(Straight.apply(helper(x)).flatten(1)) * self.factor

def decide(x):
    return helper(x)
"""


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[[str], ModuleType]]:
    """``notebook(cell)`` runs the text as a module without a file, as if the kernel had been started anew."""
    (tmp_path / "mine_beside.py").write_text("VALUE = 1\n")
    monkeypatch.syspath_prepend(tmp_path)

    def run(cell: str) -> ModuleType:
        module = ModuleType("a_notebook")
        monkeypatch.setitem(sys.modules, "a_notebook", module)
        exec(cell, vars(module))
        return module

    yield run
    sys.modules.pop("mine_beside", None)


def of_network(module: ModuleType) -> str:
    torch.manual_seed(0)
    network: nn.Module = module.Net()
    return Classifier(network, num_classes=3, input_shape=(1, 2, 2)).fingerprint


@pytest.mark.parametrize(
    "of", [of_network, lambda module: code_fingerprint(module.decide)], ids=["network", "function"]
)
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("flatten(1)) * self", "flatten(1)) + self"),
        ("return SCALE * x", "return SCALE + x"),
        ("return gradient\n", "return gradient * 0\n"),
        ("SCALE = 1.0", "SCALE = 2.0"),
        ("LIMIT = 3", "LIMIT = 4"),
        ("def factor(self):\n        return 1", "def factor(self):\n        return 2"),
        ("def look(self):\n        return 1", "def look(self):\n        return 2"),
        ("class Net(Base)", "class Net(nn.Module)"),
    ],
    ids=["method", "function", "static method", "constant", "of a class", "property", "decorated", "base class"],
)
def test_an_edited_cell_counts(
    notebook: Callable[[str], ModuleType], of: Callable[[ModuleType], str], old: str, new: str
) -> None:
    before = of(notebook(CELL))
    assert of(notebook(CELL)) == before
    assert CELL.count(old) == 1
    assert of(notebook(CELL.replace(old, new))) != before


def test_a_file_that_a_notebook_imports_counts(notebook: Callable[[str], ModuleType], tmp_path: Path) -> None:
    before = of_network(notebook(CELL))
    (tmp_path / "mine_beside.py").write_text("VALUE = 2\n")
    assert of_network(notebook(CELL)) != before


def test_values_that_no_code_looks_up_and_functions_that_are_shown_again_do_not_count(
    notebook: Callable[[str], ModuleType],
) -> None:
    before = of_network(notebook(CELL))
    assert of_network(notebook(CELL.replace("UNUSED = 1", "UNUSED = 2"))) == before
    assert of_network(notebook(f"{CELL}\n_7 = decide\nresult = [1, 2]\n")) == before
