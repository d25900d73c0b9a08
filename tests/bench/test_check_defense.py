"""`check_defense` refuses what would make a defense look strong for nothing, and names the defense and the surface."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn

from pytest_robust.bench.bench import Bench
from pytest_robust.bench.defense import Defense
from pytest_robust.bench.settings import Settings
from pytest_robust.models.classifier import Classifier
from pytest_robust.testing import check_defense
from pytest_robust.threats.decision import Decision
from pytest_robust.threats.defended import Defended, network_alone
from pytest_robust.threats.surfaces import surface_of


def nearest_mean(bench: Bench) -> Classifier:
    """A linear network that needs no training: each class by the mean of its images."""
    x, y = bench.train_split.x.flatten(1), bench.train_split.y
    means = torch.stack([x[y == label].mean(0) for label in range(10)])
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    with torch.no_grad():
        network[1].weight.copy_(means)
        network[1].bias.copy_(-means.square().sum(1) / 2)
    return Classifier(network, num_classes=10, input_shape=(1, 8, 8)).requires_grad_(False)


class Before(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor], network: Classifier) -> None:
        super().__init__()
        self.function, self.network = function, network

    def forward(self, x: Tensor) -> Tensor:
        return self.network(self.function(x))


def defense(name_: str, change: Callable[[Defended, Classifier], Defended]) -> type[Defense]:
    @dataclass(frozen=True)
    class Made(Defense):
        name: ClassVar[str] = name_
        limitation: ClassVar[str] = "it is a test"

        def fit(self, bench: Bench) -> Defended:
            network = nearest_mean(bench)
            return change(network_alone(network, self.name), network)

    return Made


def shown(function: Callable[[Tensor], Tensor]) -> Callable[[Defended, Classifier], Defended]:
    def change(defended: Defended, network: Classifier) -> Defended:
        surface = surface_of(Before(function, network), network, "shown")
        return replace(defended, surfaces={"white_box": surface, "adaptive": network})

    return change


def scored(score: Callable[[Tensor], Tensor]) -> Callable[[Defended, Classifier], Defended]:
    def change(defended: Defended, network: Classifier) -> Defended:
        def decide(x: Tensor) -> Decision:
            return Decision(network(x).argmax(1), torch.zeros(len(x), dtype=torch.bool), score(x))

        return replace(defended, decide_batch=decide)

    return change


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(Settings(cache=tmp_path))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (shown(torch.round), "gradient is exactly zero on 100% of the images"),
        (shown(torch.detach), "no gradient: some operation in it detaches"),
        (shown(lambda x: torch.zeros_like(x) + 0.5), "no gradient"),
    ],
    ids=["rounded", "detached", "constant"],
)
def test_a_surface_without_a_gradient_is_refused(
    change: Callable[[Defended, Classifier], Defended], sentence: str, bench: Bench
) -> None:
    with pytest.raises(AssertionError, match=rf"masked \(white_box\): .*{sentence}"):
        check_defense(defense("masked", change), bench)


@pytest.mark.parametrize(
    ("score", "sentence"),
    [
        (lambda x: torch.rand(len(x)) * 1e-4, "scores change when it is asked again"),
        (lambda x: x.flatten(1).mean(1) * 1e-4 - float(x.mean()) * 1e-4, "scores depend on the batch"),
    ],
    ids=["noise", "batch"],
)
def test_scores_are_compared_by_their_own_scale(score: Callable[[Tensor], Tensor], sentence: str, bench: Bench) -> None:
    with pytest.raises(AssertionError, match=f"small: {sentence}"):
        check_defense(defense("small", scored(score)), bench)


@pytest.mark.parametrize("factor", [0.0, 1e-4, 1e4])
def test_sound_scores_of_any_scale_pass(factor: float, bench: Bench) -> None:
    sound = defense("sound", scored(lambda x: x.flatten(1).mean(1) * factor))
    assert check_defense(sound, bench).name == "sound"
