"""The Recipe: what it refuses, and what its settings say."""

from __future__ import annotations

import dataclasses
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
