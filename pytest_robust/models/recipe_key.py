"""The key of a trained model: a fingerprint of everything that determines its weights."""

from __future__ import annotations

import importlib
from typing import Any

import torch

from pytest_robust.models.network import make_network, own_random_state
from pytest_robust.models.recipe import Recipe
from pytest_robust.models.structure import structure_fingerprint
from pytest_robust.registry import Registry
from pytest_robust.store.code import users_code_fingerprint
from pytest_robust.store.fingerprint import fingerprint, source_fingerprint

_CODE = ("augmentation", "classifier", "network", "training")


def recipe_key(recipe: Recipe, architectures: Registry[Any], device: torch.device) -> str:
    """Of the recipe's settings and data, the network's structure and code, the training's code, torch and the device.

    The network is built for it (untrained), so that an edit to any of its modules counts, wherever their code is. A
    factory with an attribute ``fingerprint`` (a string) counts by that, any other by the source file that defines it,
    and by what of the user's own that imports.

    Raises:
        UnknownNameError: no such architecture.
        ModelError: the architecture cannot be built.
    """
    factory = architectures.get(recipe.architecture)
    own = getattr(factory, "fingerprint", None)
    with own_random_state(torch.device("cpu"), recipe.seed):
        structure = structure_fingerprint(make_network(recipe, architectures))
    return fingerprint(
        {
            "recipe": recipe.settings,
            "architecture": own if isinstance(own, str) else users_code_fingerprint(factory),
            "structure": structure,
            # Imported here because the training itself asks for the key of its checkpoint.
            "training": [source_fingerprint(importlib.import_module(f"{__package__}.{name}")) for name in _CODE],
            "torch": torch.__version__.split(".")[:2],
            "device": device.type,
        }
    )
