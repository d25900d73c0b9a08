"""A bench on the embedded digits with a tiny, quickly trained profile; one store for the session."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_robust.bench import profile
from pytest_robust.bench.bench import Bench
from pytest_robust.bench.settings import Settings

TINY = profile.Profile("cuda_convnet_digits", train_images=600, epochs=8, test_images=120, learning_rate=0.05)


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture
def make_bench(store: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Bench]:
    monkeypatch.setitem(profile.PROFILES, ("digits", "quick"), TINY)

    def make(**settings: object) -> Bench:
        return Bench(Settings(**{"cache": store, "device": "cpu", **settings}))

    return make


@pytest.fixture
def bench(make_bench: Callable[..., Bench]) -> Bench:
    return make_bench()
