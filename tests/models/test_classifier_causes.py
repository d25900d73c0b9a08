"""What a classifier answers depends on more than its saved weights, and so does its fingerprint."""

from __future__ import annotations

from collections.abc import Callable

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


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (classifier(linear()), classifier(linear(), Quantising)),
        (classifier(Buffered(0.0)), classifier(Buffered(1.0))),
        (classifier(Hiding(0)), classifier(Hiding(1))),
        (classifier(closed_over(0)), classifier(closed_over(1))),
    ],
    ids=["subclass", "buffer that is not saved", "network in a list", "network in a closure"],
)
def test_whatever_changes_the_answer_changes_the_fingerprint(one: Classifier, other: Classifier) -> None:
    x = torch.rand(5, *SHAPE, generator=torch.Generator().manual_seed(0))
    assert not torch.equal(one(x), other(x))
    assert one.fingerprint != other.fingerprint


def test_the_name_does_not_count() -> None:
    assert classifier(linear(), name="a").fingerprint == classifier(linear(), name="b").fingerprint
