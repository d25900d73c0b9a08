"""The fingerprint of a network's structure: what its weights do not say."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import threading
import types
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
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


def scaled(x: Tensor, by: float) -> Tensor:
    return x * by


def clamped(low: float | None, high: float | None) -> Any:
    return lambda x: x.clamp(low, high)


class Levels:
    def __init__(self, levels: int) -> None:
        self.levels = levels

    def __call__(self, x: Tensor) -> Tensor:
        return (x * self.levels).round() / self.levels


def made_with(value: float) -> nn.Module:
    class Made(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * value

    return Made()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Scaled(functools.partial(scaled, by=1.0)), Scaled(functools.partial(scaled, by=0.0))),
        (Scaled(Levels(1)), Scaled(Levels(255))),
        (Scaled(Levels(1).__call__), Scaled(Levels(255).__call__)),
        (Scaled(torch.float16), Scaled(torch.bfloat16)),
        (Scaled(torch.floor), Scaled(torch.ceil)),
        (Scaled(torch.nn.functional), Scaled(torch)),
        (Scaled(lambda x: x * 1.0), Scaled(lambda x: x * 0.5)),
        (Scaled(lambda x: x.floor()), Scaled(lambda x: x.ceil())),
        (Scaled({"a": Levels(1)}), Scaled({"a": Levels(2)})),
        (Scaled(clamped(None, 0.5)), Scaled(clamped(0.5, None))),
        (made_with(1.0), made_with(2.0)),
        (Scaled(threading.Lock()), Scaled(threading.Lock())),
        (Scaled(torch.empty(2, device="meta")), Scaled(torch.empty(3, device="meta"))),
    ],
    ids=[
        "partial",
        "object",
        "method",
        "dtype",
        "built-in function",
        "Python module",
        "constant of a lambda",
        "method that a lambda calls",
        "object in a dictionary",
        "which variable of a closure is None",
        "local class",
        "what cannot be looked into",
        "tensor without data",
    ],
)
def test_what_a_network_holds_counts_with_its_state(one: nn.Module, other: nn.Module) -> None:
    assert structure_fingerprint(one) == structure_fingerprint(one)  # asking leaves no trace
    assert structure_fingerprint(one) != structure_fingerprint(other)


def test_what_points_back_at_the_network_ends() -> None:
    def pointing(factor: float) -> nn.Module:
        network = Scaled(factor)
        network.again = [network, network.forward]
        network.again.append(network.again)
        network.register_forward_hook(network.forward)
        return network

    assert structure_fingerprint(pointing(1.0)) == structure_fingerprint(pointing(1.0))
    assert structure_fingerprint(pointing(1.0)) != structure_fingerprint(pointing(2.0))


HELD = """
import functools
from torch import float16
from pytest_robust.models.structure import structure_fingerprint
from test_structure import Levels, Scaled, held, made_with, scaled
functions = [functools.partial(scaled, by=0.5), Levels(3), Levels(3).__call__, held(1.0), made_with(2.0)]
print(structure_fingerprint(Scaled([*functions, float16, {"b", "a"}, lambda x: x in {"a", "b", "c"}])))
"""


def test_it_is_the_same_in_every_process() -> None:
    def printed(seed: str) -> str:
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parent)}
        command = [sys.executable, "-c", HELD]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout

    assert printed("1") == printed("2") != ""


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
