"""The dustbin defense: its pairing against a slow reference, its training data, and the shape of its mixtures."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pytest_robust.bench.bench import Bench
from pytest_robust.bench.settings import Settings
from pytest_robust.data.split import Split
from pytest_robust.defenses.dustbin import (
    MIXING_RATIO,
    Dustbin,
    choose_sources,
    interpolate,
    nearest_of_another_class,
)
from pytest_robust.errors import SettingsError
from pytest_robust.models.classifier import Classifier


def slow_nearest(features: torch.Tensor, y: torch.Tensor, source: int) -> float:
    """Distance to the nearest image of another class, one candidate at a time."""
    return min(float((features[i] - features[source]).norm()) for i in range(len(y)) if y[i] != y[source])


@given(st.integers(0, 2**31), st.integers(1, 40))
def test_pairing_finds_the_nearest_of_another_class_whatever_the_block(seed: int, block: int) -> None:
    g = torch.Generator().manual_seed(seed)
    features, y = torch.randn(40, 5, generator=g), torch.randint(0, 3, (40,), generator=g)
    y[0], y[1] = 0, 1  # at least two classes
    sources = torch.randperm(40, generator=g)[:20]
    nearest = nearest_of_another_class(features, y, sources, block)
    for source, target in zip(sources.tolist(), nearest.tolist(), strict=True):
        assert y[source] != y[target]
        distance = float((features[source] - features[target]).norm())
        assert distance == pytest.approx(slow_nearest(features, y, source), abs=1e-4)


@given(st.integers(0, 2**31), st.integers(1, 8))
def test_sources_are_distinct_and_the_same_number_of_each_class(seed: int, per_class: int) -> None:
    y = torch.arange(60) % 6
    sources = choose_sources(y, per_class, seed)
    assert len(sources.unique()) == len(sources) == 6 * per_class
    assert y[sources].bincount().tolist() == [per_class] * 6


def test_pairing_never_holds_all_distances(monkeypatch: pytest.MonkeyPatch) -> None:
    largest = 0
    masked = torch.Tensor.masked_fill_

    def spy(self: torch.Tensor, *args: object) -> torch.Tensor:
        nonlocal largest
        largest = max(largest, self.numel())
        return masked(self, *args)

    monkeypatch.setattr(torch.Tensor, "masked_fill_", spy)
    n = 2000
    nearest_of_another_class(torch.randn(n, 4), torch.arange(n) % 10, torch.arange(n), block=64)
    assert 0 < largest <= 64 * n


def test_mixtures_are_half_source_half_neighbour() -> None:
    torch.manual_seed(0)
    network = Classifier(
        torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 3)), num_classes=3, input_shape=(1, 4, 4)
    )
    split = Split(torch.rand(30, 1, 4, 4), torch.arange(30) % 3, 3, "toy")
    mixed = interpolate(network, split, per_class=5, seed=0)
    sources = choose_sources(split.y, 5, 0)
    targets = nearest_of_another_class(split.x.flatten(1), split.y, sources)
    assert mixed.kind == "interpolated"
    assert len(mixed) == 15
    assert torch.allclose(mixed.x, MIXING_RATIO * split.x[sources] + (1 - MIXING_RATIO) * split.x[targets])


def test_more_foreign_images_than_there_are_is_an_error(tmp_path: Path) -> None:
    bench = Bench(Settings(cache=tmp_path, device="cpu"))
    with pytest.raises(SettingsError, match=r"asks for \d+ foreign images, but letters.* at most 0.\d+ of") as told:
        Dustbin(out_distribution=2.0, interpolated=0.0).training_data(bench)
    most = float(str(told.value).split("at most ")[1].split()[0])
    assert Dustbin(out_distribution=most, interpolated=0.0).training_data(bench)
