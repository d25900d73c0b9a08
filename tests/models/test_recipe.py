"""The Recipe: what it refuses, and what its settings say."""

from __future__ import annotations

import dataclasses
import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from pytest_robust.data.split import Split
from pytest_robust.errors import SettingsError
from pytest_robust.models.recipe import Recipe


def split(n: int = 4, num_classes: int = 3, shape: tuple[int, int, int] = (1, 8, 8), seed: int = 0) -> Split:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % num_classes
    return Split(torch.rand(n, *shape, generator=generator), labels, num_classes, f"split {seed}")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"data": ()}, "names no training data"),
        ({"data": (split(), split(num_classes=4))}, "disagree"),
        ({"data": (split(), split(shape=(3, 8, 8)))}, "disagree"),
        ({"patience": 3}, "no validation images"),
        ({"validation": split(num_classes=4)}, "do not fit"),
        ({"validation": split(shape=(1, 9, 8))}, "do not fit"),
        ({"optimizer": "lbfgs"}, "optimizer='lbfgs'; it is one of: sgd, adam"),
        ({"schedule": "step"}, "constant, cosine"),
        ({"augmentation": "mixup"}, "none, flip_crop"),
        ({"normalization": "std"}, "none, mean, mean_std"),
        ({"precision": "float16"}, "float32, bfloat16"),
        ({"epochs": -1}, "epochs=-1; it is a number of at least 0"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"patience": 0, "validation": split()}, "patience=0"),
        ({"learning_rate": float("nan")}, "learning_rate=nan"),
        ({"learning_rate": float("inf")}, "learning_rate=inf"),
        ({"momentum": -0.1}, "momentum=-0.1"),
        ({"weight_decay": -1e-4}, "weight_decay=-0.0001"),
    ],
)
def test_what_cannot_be_right_is_refused(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(SettingsError, match=reason):
        Recipe(**{"architecture": "mlp", "data": (split(),), **change})


def test_the_validation_images_may_lack_the_dustbin_class() -> None:
    recipe = Recipe("mlp", (split(num_classes=4),), split(num_classes=3))
    assert recipe.num_classes == 4


def test_every_field_but_the_name_is_in_the_settings() -> None:
    recipe = Recipe("mlp", (split(),), split(seed=1), name="mine")
    assert set(recipe.settings) == {f.name for f in dataclasses.fields(Recipe)} - {"name"}
    assert recipe.settings["data"] == [split().fingerprint]
    assert recipe.settings["validation"] == split(seed=1).fingerprint


def test_title_and_seed() -> None:
    recipe = Recipe("mlp", (split(),))
    assert recipe.title == "mlp"
    assert dataclasses.replace(recipe, name="mine").title == "mine"
    assert recipe.with_seed(7).settings == {**recipe.settings, "seed": 7}


HELPER = "FACTOR = 1.0\n"
BASE = """
import my_loss_helper
from pytest_robust.models.losses import CrossEntropy

class Base(CrossEntropy):
    def __call__(self, classifier, batch):
        loss, right = super().__call__(classifier, batch)
        return my_loss_helper.FACTOR * loss, right
"""
OWN = "from my_loss_base import Base\n\nclass Own(Base):\n    pass\n"


def test_a_loss_counts_by_what_it_inherits_and_by_what_that_imports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {"my_loss_helper.py": HELPER, "my_loss_base.py": BASE, "my_loss.py": OWN}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
        monkeypatch.delitem(sys.modules, name.removesuffix(".py"), raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    loss = importlib.import_module("my_loss").Own()
    found = [loss.settings()]
    for name, text in files.items():
        (tmp_path / name).write_text(f"{text}# edited\n")
        found.append(loss.settings())
    assert len({str(each) for each in found}) == 4
    assert found[-1] == loss.settings()
    for name in files:
        sys.modules.pop(name.removesuffix(".py"), None)


def test_a_loss_that_a_notebook_redefines_is_another(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for factor in (1.0, 0.0, 1.0):
        module = ModuleType("my_loss_cell")
        monkeypatch.setitem(sys.modules, "my_loss_cell", module)
        text = BASE.replace("import my_loss_helper\n", "").replace("my_loss_helper.FACTOR", str(factor))
        exec(text, vars(module))
        found.append(module.Base().settings())
    assert found[0] == found[2] != found[1]
