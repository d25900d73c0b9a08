"""The fingerprint of a network's structure: what its weights do not say."""

from __future__ import annotations

import sys
import types
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from pytest_robust.models.structure import structure_fingerprint


class Scaled(nn.Module):
    def __init__(self, scale: Any = 1.0, inner: nn.Module | None = None) -> None:
        super().__init__()
        self._scale = scale
        self.inner = inner or nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x) * self._scale

    @cached_property
    def asked(self) -> float:
        return 1.0


def held(value: float) -> Any:
    return lambda x: x * value


def test_what_changes_the_answers_changes_it() -> None:
    variants = [
        nn.Identity(),
        nn.ReLU(),
        nn.Tanh(),
        nn.Dropout(0.1),
        nn.Dropout(0.2),
        nn.Sequential(nn.ReLU()),
        nn.Sequential(nn.ReLU(), nn.Tanh()),
        nn.Sequential(nn.Tanh(), nn.ReLU()),
        nn.MaxPool2d(2),
        nn.AvgPool2d(2),
        Scaled(),
        Scaled(2.0),
        Scaled(torch.ones(2)),
        Scaled(torch.zeros(2)),
        Scaled([1, 2]),
        Scaled(inner=nn.ReLU()),
        Scaled(held(1.0)),
        Scaled(held(2.0)),
        Scaled(object()),
    ]
    assert len({structure_fingerprint(network) for network in variants}) == len(variants)


def test_what_does_not_change_them_does_not() -> None:
    first, second = Scaled(held(2.0), nn.Linear(3, 3)), Scaled(held(2.0), nn.Linear(3, 3))
    second.eval()
    second.requires_grad_(False)
    assert second.asked == 1.0  # what a cached property leaves behind is no setting
    assert structure_fingerprint(first) == structure_fingerprint(second)


def test_an_object_counts_without_its_address() -> None:
    assert structure_fingerprint(Scaled(object())) == structure_fingerprint(Scaled(object()))


def test_the_code_of_every_module_counts(tmp_path: Any, monkeypatch: Any) -> None:
    fingerprints = []
    for number, factor in enumerate((1, 2)):
        path = tmp_path / f"edited_{number}.py"
        path.write_text(
            f"import torch.nn as nn\nclass Net(nn.Module):\n    def forward(self, x): return x * {factor}\n"
        )
        module = types.ModuleType("edited_net")
        module.__file__ = str(path)
        exec(compile(path.read_text(), path, "exec"), module.__dict__)
        monkeypatch.setitem(sys.modules, "edited_net", module)
        fingerprints.append(structure_fingerprint(nn.Sequential(module.Net())))
    assert fingerprints[0] != fingerprints[1]
