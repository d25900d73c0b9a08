"""The gate's verdicts are wrong no more often than they say: the fast version of benchmarks/verdicts.py.

Seeded. A rate of errors is judged on the upper end of its own Monte-Carlo interval (99 %, one-sided), so these tests
fail where the true rate of errors is not clearly below the promised one. The controls show that they can.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from pytest_robust.evaluation.baseline import compare_all, paired_drop, two_sample_drop
from pytest_robust.evaluation.rate import Rate
from pytest_robust.evaluation.sequential import decide
from pytest_robust.evaluation.verdict import Verdict

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
RUNS = 4000
LOOKS = range(10, 2001, 10)
thresholds = pytest.mark.parametrize("threshold", [0.5, 0.9, 0.99])


@pytest.fixture(scope="module")
def simulation() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("verdict_simulation", BENCHMARKS / "verdict_simulation.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20)


def bounds(rate: Rate) -> tuple[float, float]:
    wide = Rate(rate.k, rate.n, confidence=0.98)
    return wide.lower, wide.upper


@thresholds
@pytest.mark.parametrize("n", [100, 1000, 10_000])
def test_a_fixed_sample_passes_a_model_below_its_threshold_in_at_most_one_run_of_twenty(
    simulation: ModuleType, rng: np.random.Generator, threshold: float, n: int
) -> None:
    """At the threshold itself, which is the limit of all models below it and the hardest of them."""
    verdicts = simulation.Gate.of(simulation.once, threshold, [n]).run(threshold, RUNS, rng)
    assert bounds(verdicts.share(1))[1] <= 0.05


@thresholds
def test_sequential_verdicts_are_wrong_in_at_most_one_run_of_twenty(
    simulation: ModuleType, rng: np.random.Generator, threshold: float
) -> None:
    gate = simulation.Gate.of(simulation.sequentially, threshold, LOOKS)
    at_it = gate.run(threshold, RUNS, rng)
    assert bounds(at_it.decided)[1] <= 0.05  # passes a model a hair below, or fails one a hair above
    assert at_it.share(1).k > 0  # else nothing was tried
    assert bounds(gate.run(threshold - 0.02, RUNS, rng).share(1))[1] <= 0.01


@pytest.mark.parametrize("threshold", [0.5, 0.9])
def test_control_a_fixed_interval_after_every_batch_is_wrong_more_often(
    simulation: ModuleType, rng: np.random.Generator, threshold: float
) -> None:
    peeking = simulation.Gate.of(simulation.once, threshold, LOOKS).run(threshold, RUNS, rng)
    assert bounds(peeking.share(1))[0] > 0.1


@pytest.mark.parametrize(("threshold", "rate"), [(0.5, 0.45), (0.5, 0.55), (0.9, 0.85), (0.9, 0.95), (0.99, 0.94)])
def test_five_points_from_the_threshold_half_of_a_test_set_is_enough(
    simulation: ModuleType, rng: np.random.Generator, threshold: float, rate: float
) -> None:
    verdicts = simulation.Gate.of(simulation.sequentially, threshold, LOOKS).run(rate, RUNS, rng)
    error = verdicts.images.std() / np.sqrt(RUNS)
    assert verdicts.images.mean() + 2.33 * error <= max(LOOKS) / 2
    assert verdicts.share(int(np.sign(rate - threshold))).value > 0.9


def test_an_unchanged_model_is_called_worse_in_at_most_one_release_of_twenty(
    simulation: ModuleType, rng: np.random.Generator
) -> None:
    """Twenty requirements each, on the same images and on others, with and without a margin."""
    releases = [
        simulation.Release(1000, True, 0.05),
        simulation.Release(1000, True, 0.01, 0.01, 0.01),
        simulation.Release(200, False, 0.95),
    ]
    for release in releases:
        assert bounds(simulation.called_worse(release.p_values(RUNS, rng)))[1] <= 0.05


def test_control_without_the_correction_an_unchanged_model_is_called_worse_more_often(
    simulation: ModuleType, rng: np.random.Generator
) -> None:
    p = simulation.Release(1000, True, 0.05).p_values(RUNS, rng, screen=-np.inf)
    assert bounds(simulation.called_worse(p, corrected=False))[0] > 0.3


def test_a_model_that_is_worse_is_found(simulation: ModuleType, rng: np.random.Generator) -> None:
    p = simulation.Release(1000, True, 0.02, 0.05, 0.01, count=1, distinct=1).p_values(RUNS // 10, rng)
    assert simulation.called_worse(np.concatenate([p, np.ones((len(p), 19))], 1)).value > 0.9


@pytest.mark.parametrize(("threshold", "rate"), [(0.5, 0.5), (0.5, 0.6), (0.9, 0.8), (0.99, 0.999)])
def test_the_simulated_gate_is_the_gate(simulation: ModuleType, threshold: float, rate: float) -> None:
    gate = simulation.Gate.of(simulation.sequentially, threshold, range(50, 1001, 50))
    names = {Verdict.HOLDS: 1, Verdict.FAILS: -1, Verdict.INCONCLUSIVE: 0}
    for seed in range(20):
        outcomes = torch.rand(1000, generator=torch.Generator().manual_seed(seed)) < rate
        stopped = decide(outcomes.split(50), threshold)
        k = outcomes.long().cumsum(0)[49::50].numpy()
        says = (k >= gate.passes_from).astype(int) - (k <= gate.fails_to)
        assert stopped.looks == (int((says != 0).argmax()) + 1 if says.any() else 20)
        assert names[stopped.judgement.verdict] == says[stopped.looks - 1]


@pytest.mark.parametrize("paired", [True, False])
def test_the_simulated_release_is_compared_as_a_release_is(simulation: ModuleType, paired: bool) -> None:
    """Drops from per-image outcomes, judged by compare_all, against the simulation's shortcut by counts."""
    rng = np.random.default_rng(3)
    release = simulation.Release(200, paired, 0.1, 0.04, count=5, distinct=5)
    verdicts = []
    for _ in range(25):
        first, second = release._counts(1, rng)
        drops = []
        for a, b in zip(first[0].tolist(), second[0].tolist(), strict=True):
            old, new = torch.zeros(200, dtype=torch.bool), torch.zeros(200, dtype=torch.bool)
            old[:a] = True
            new[slice(a, a + b) if paired else slice(0, b)] = True
            drops.append(paired_drop(old, new) if paired else two_sample_drop(Rate.of(old), Rate.of(new)))
        p = np.array([[release.measured(a, b).p for a, b in zip(first[0].tolist(), second[0].tolist(), strict=True)]])
        verdicts.append(any(c.worse for c in compare_all(drops)))
        assert simulation.called_worse(p).k == verdicts[-1]
    assert 0 < sum(verdicts) < 25
