"""Training in several processes: the same bits as one after the other, each trained once, errors left to the caller."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from pytest_robust.bench.bench import Bench
from pytest_robust.bench.settings import Settings
from pytest_robust.catalogue import Registries
from pytest_robust.errors import ModelError
from pytest_robust.models.parallel import processes_for
from pytest_robust.models.recipe import Recipe


@pytest.fixture
def two_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with two cores, whatever this one has; the processes themselves run with one thread each."""
    monkeypatch.setattr("torch.get_num_threads", lambda: 2)


def bench_at(folder: Path, registries: Registries | None = None) -> Bench:
    return Bench(Settings(cache=folder), registries)


def recipes(bench: Bench, count: int = 3) -> list[Recipe]:
    return [bench.recipe(epochs=1, seed=seed) for seed in range(count)]


def weights(models: list[nn.Module]) -> list[dict[str, Tensor]]:
    return [dict(model.state_dict()) for model in models]


@pytest.mark.usefixtures("two_threads")
def test_processes_give_the_same_bits_as_one_after_the_other(tmp_path: Path) -> None:
    apart, alone = bench_at(tmp_path / "apart"), bench_at(tmp_path / "alone")
    together = apart.train_all(recipes(apart))
    single = [alone.train(recipe) for recipe in recipes(alone)]
    for one, other in zip(weights(together), weights(single), strict=True):
        assert all(torch.equal(one[name], other[name]) for name in one)
    assert apart.ledger.count("trained") == alone.ledger.count("trained") == 3


@pytest.mark.usefixtures("two_threads")
def test_what_is_there_is_not_trained_again_and_equal_recipes_once(tmp_path: Path) -> None:
    first = bench_at(tmp_path)
    first.train(recipes(first)[0])
    second = bench_at(tmp_path)
    models = second.train_all([*recipes(second), *recipes(second)])
    assert models[0] is models[3]
    assert (second.ledger.count("trained"), second.ledger.count("loaded")) == (2, 1)
    third = bench_at(tmp_path)
    third.train_all(recipes(third))
    assert (third.ledger.count("trained"), third.ledger.count("loaded")) == (0, 3)


@pytest.mark.usefixtures("two_threads")
def test_an_architecture_that_only_the_caller_knows_is_trained_by_the_caller(tmp_path: Path) -> None:
    registries = Registries()
    registries.architectures.register("mine", lambda n, _shape: nn.Sequential(nn.Flatten(), nn.Linear(64, n)))
    bench = bench_at(tmp_path, registries)
    models = bench.train_all([bench.recipe(architecture="mine", epochs=1, seed=seed) for seed in range(2)])
    assert len(models) == bench.ledger.count("trained") == 2


@pytest.mark.usefixtures("two_threads")
def test_a_training_that_diverges_says_so(tmp_path: Path) -> None:
    bench = bench_at(tmp_path)
    with pytest.raises(ModelError, match="diverged"):
        bench.train_all([bench.recipe(epochs=2, seed=seed, learning_rate=1e30) for seed in range(2)])


def test_one_process_per_thread_and_none_extra_off_the_cpu(two_threads: None) -> None:
    assert processes_for(10, torch.device("cpu")) == 2
    assert processes_for(1, torch.device("cpu")) == 1
    assert processes_for(10, torch.device("cuda")) == 1
