"""Benches on the embedded digits with a small, quickly trained network, and a PGD-trained one; one store for all."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from masked import Around, around

from pytest_robust.bench.bench import Bench
from pytest_robust.bench.profile import Profile
from pytest_robust.bench.settings import Settings
from pytest_robust.diagnosis.diagnose import diagnose
from pytest_robust.diagnosis.diagnosis import Diagnosis

SMALL = Profile("cuda_convnet_digits", train_images=600, epochs=8, learning_rate=0.05)

Diagnose = Callable[..., Diagnosis]


@pytest.fixture(scope="session")
def make_bench(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Bench]:
    store = tmp_path_factory.mktemp("store")
    return lambda seed: Bench(Settings(cache=store, device="cpu", seed=seed), profile=SMALL)


@pytest.fixture(scope="session")
def bench(make_bench: Callable[[int], Bench]) -> Bench:
    return make_bench(0)


@pytest.fixture
def masked(bench: Bench) -> Callable[..., Diagnosis]:
    """The diagnosis of the plain network behind a mask, by the named checks."""

    def diagnosed(kind: type[Around], *checks: str, **arguments: object) -> Diagnosis:
        return diagnose(bench, around(kind, bench.classifier), checks=checks, **arguments)  # type: ignore[arg-type]

    return diagnosed
