"""A `Robust` on a store of its own, and a small trained model with its images."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pytest_robust.attacks.common_checks import toy_classifier, toy_split
from pytest_robust.bench.bench import Bench
from pytest_robust.bench.settings import Settings
from pytest_robust.data.split import Split
from pytest_robust.gate.robust import Robust
from pytest_robust.models.classifier import Classifier


@pytest.fixture(scope="session")
def toy() -> Classifier:
    return toy_classifier()


@pytest.fixture(scope="session")
def images() -> Split:
    return toy_split(48, seed=3)


@pytest.fixture
def robust(tmp_path: Path) -> Robust:
    """Every test has an empty store."""
    return Robust(Bench(Settings(cache=tmp_path / "cache", device="cpu")), root=tmp_path)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)
