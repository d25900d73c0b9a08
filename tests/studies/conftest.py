"""A family of toy networks, images for them, and a bench with a store of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2  # noqa: F401 (here and not in a test, because its first import sets LD_LIBRARY_PATH)
import pytest
import torch
from torch import Tensor
from toy_networks import CLASSES, SHAPE, linear, templates

from pytest_robust.bench.bench import Bench
from pytest_robust.bench.settings import Settings
from pytest_robust.data.split import Split
from pytest_robust.models.classifier import Classifier
from pytest_robust.models.family import Family


@pytest.fixture
def make_images() -> Callable[[int], Split]:
    """So many images: the pattern of their class, faint, and noise."""

    def make(n: int) -> Split:
        generator = torch.Generator().manual_seed(0)
        y = torch.randint(CLASSES, (n,), generator=generator)
        x = 0.5 + 0.1 * templates()[y] + 0.15 * torch.randn(n, 64, generator=generator)
        return Split(x.clamp(0, 1).view(n, *SHAPE), y, CLASSES, "toys")

    return make


@pytest.fixture
def family() -> Family:
    """Three networks that see the patterns through more and more noise; the first two share an architecture."""
    members = {}
    for index, noise in enumerate((0.3, 0.8, 2.0)):
        rough = noise * torch.randn(CLASSES, 64, generator=torch.Generator().manual_seed(index))
        members[f"net {index}"] = linear(templates() + rough, f"net {index}")
    return Family("toys", members, {"net 0": "fine", "net 1": "fine"})


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(Settings(cache=tmp_path / "cache", device="cpu"))


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many images each call of any classifier showed it; kept here, as the network's own state is fingerprinted."""
    sizes: list[int] = []
    forward = Classifier.forward

    def counted(self: Classifier, x: Tensor) -> Tensor:
        sizes.append(len(x))
        return forward(self, x)

    monkeypatch.setattr(Classifier, "forward", counted)
    return sizes
