"""What a classifier answers depends on more than its saved weights, and so does its fingerprint."""

from __future__ import annotations

import importlib
import math
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from pytest_robust.models.classifier import Classifier

SHAPE = (1, 2, 2)


def linear(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(4, 3))


def classifier(network: nn.Module, kind: type[Classifier] = Classifier, name: str = "any") -> Classifier:
    return kind(network, num_classes=3, input_shape=SHAPE, name=name)


class Quantising(Classifier):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward((x * 2).round() / 2)


class Buffered(nn.Module):
    def __init__(self, shift: float) -> None:
        super().__init__()
        self.inner = linear()
        self.register_buffer("shift", torch.tensor(shift), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x) + self.shift


class Hiding(nn.Module):
    """Its network lies in a plain list, where torch does not see it."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.networks = [linear(seed)]

    def forward(self, x: Tensor) -> Tensor:
        return self.networks[0](x)


class Calling(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def closed_over(seed: int) -> Calling:
    network = linear(seed)
    return Calling(lambda x: network(x))


GLOBAL_NETWORKS = [linear(0), linear(1)]
GLOBAL_SHIFT = torch.tensor(1.0)


def of_a_global(x: Tensor) -> Tensor:
    return GLOBAL_NETWORKS[0](x)


def shifted_by_a_global(x: Tensor) -> Tensor:
    return of_a_global(x) + GLOBAL_SHIFT


def hooked(shift: float) -> nn.Module:
    network = linear()
    network.register_forward_hook(lambda _module, _inputs, output: output + shift)
    return network


@pytest.mark.parametrize("register", ["register_full_backward_hook", "register_full_backward_pre_hook"])
def test_what_changes_the_gradient_alone_changes_the_fingerprint(register: str) -> None:
    network = linear()
    before = classifier(network).fingerprint
    handle = getattr(network, register)(lambda _module, *gradients: tuple(2 * g for g in gradients[0]))
    hooked_so = classifier(network).fingerprint
    handle.remove()
    assert hooked_so != before
    assert classifier(network).fingerprint == before


def test_what_a_function_finds_among_the_globals_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    before = classifier(Calling(shifted_by_a_global)).fingerprint
    assert classifier(Calling(shifted_by_a_global)).fingerprint == before
    monkeypatch.setitem(globals(), "GLOBAL_SHIFT", torch.tensor(2.0))
    shifted = classifier(Calling(shifted_by_a_global)).fingerprint
    monkeypatch.setitem(globals(), "GLOBAL_NETWORKS", [linear(1)])
    assert len({before, shifted, classifier(Calling(shifted_by_a_global)).fingerprint}) == 3


def test_functions_that_call_each_other_have_a_fingerprint() -> None:
    def even(x: Tensor) -> Tensor:
        return odd(x)

    def odd(x: Tensor) -> Tensor:
        return even(x)

    assert classifier(Calling(even)).fingerprint == classifier(Calling(even)).fingerprint


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (classifier(linear()), classifier(linear(), Quantising)),
        (classifier(Buffered(0.0)), classifier(Buffered(1.0))),
        (classifier(Hiding(0)), classifier(Hiding(1))),
        (classifier(closed_over(0)), classifier(closed_over(1))),
        (classifier(hooked(0.0)), classifier(hooked(1.0))),
    ],
    ids=["subclass", "buffer that is not saved", "network in a list", "network in a closure", "forward hook"],
)
def test_whatever_changes_the_answer_changes_the_fingerprint(one: Classifier, other: Classifier) -> None:
    x = torch.rand(5, *SHAPE, generator=torch.Generator().manual_seed(0))
    assert not torch.equal(one(x), other(x))
    assert one.fingerprint != other.fingerprint


def test_the_name_does_not_count() -> None:
    assert classifier(linear(), name="a").fingerprint == classifier(linear(), name="b").fingerprint


HELPED = """
from mine_helping import Base, changed

class Helped(Base):
    def forward(self, x):
        return changed(super().forward(x))
"""
HELPER = "from torch import nn\n\ndef changed(x):\n    return x * {factor}\n\nclass Base(nn.Linear):\n    pass\n"


def test_an_edit_to_a_module_that_the_network_imports_changes_the_fingerprint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine_helping.py").write_text(HELPER.format(factor=1))
    (tmp_path / "mine_helped.py").write_text(HELPED)
    monkeypatch.syspath_prepend(tmp_path)
    helped = importlib.import_module("mine_helped").Helped
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), helped(math.prod(SHAPE), 3))
    before = classifier(network).fingerprint
    assert classifier(network).fingerprint == before
    (tmp_path / "mine_helping.py").write_text(HELPER.format(factor=0))
    assert classifier(network).fingerprint != before
    for name in ("mine_helped", "mine_helping"):
        sys.modules.pop(name, None)


def test_weights_that_change_places_through_data_change_the_fingerprint() -> None:
    model = classifier(linear())
    before = model.fingerprint
    weight = model.network[1].weight
    weight.data.copy_(weight.data.roll(1, 0).clone())
    assert model.fingerprint != before
