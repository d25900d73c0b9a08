"""Statistics of perturbations are NumPy's, say what they are of, and are never NaN."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pytest_robust.attacks.adversarial_set import AdversarialSet
from pytest_robust.data.split import Split
from pytest_robust.errors import SettingsError
from pytest_robust.evaluation.perturbation_stats import SIZES, PerturbationStats, paired_size_difference
from pytest_robust.evaluation.verdict import Verdict, above
from pytest_robust.reports.perturbation_table import perturbation_table


def adversarial(
    n: int = 12, success: Tensor | None = None, scale: float = 0.2, shape: tuple[int, ...] = (2, 3, 4), **parts
) -> AdversarialSet:
    generator = torch.Generator().manual_seed(n)
    clean = Split(torch.rand(n, *shape, generator=generator) * 0.5 + 0.2, torch.zeros(n, dtype=torch.int64), 10)
    delta = (torch.rand(n, *shape, generator=generator) - 0.4) * scale
    delta[delta.abs() < 0.02 * scale] = 0
    fooled = torch.arange(n) % 3 > 0 if success is None else success
    return AdversarialSet(
        clean, clean.x + delta, fooled, torch.zeros(n).bool(), **{"provenance": {"attack": "made"}, **parts}
    )


def slow(values: np.ndarray) -> tuple[float, float, float, float]:
    return values.mean(), values.std(), values.min(), values.max()


@pytest.mark.parametrize("all_images", [False, True])
def test_agrees_with_numpy(all_images: bool) -> None:
    made = adversarial(2500)
    stats = PerturbationStats.of_all(made) if all_images else PerturbationStats.of(made)
    delta = (made.x.double() - made.clean.x.double()).numpy()
    delta = delta if all_images else delta[made.success.numpy()]
    flat = np.abs(delta).reshape(len(delta), -1)
    expected = {
        "l0": (flat != 0).sum(1).astype(float),
        "l1": flat.sum(1),
        "l2": np.sqrt((flat**2).sum(1)),
        "linf": flat.max(1),
        "mse": (flat**2).mean(1),
    }
    assert (stats.n, stats.images, stats.failures) == (len(delta), 2500, int((~made.success).sum()))
    assert stats.fooled.value == pytest.approx(float(made.success.double().mean()))
    assert tuple(vars(stats.pixels).values()) == pytest.approx(slow(delta), rel=1e-4, abs=1e-7)
    for name, values in expected.items():
        assert tuple(vars(stats.size(name)).values()) == pytest.approx(slow(values), rel=1e-4)


def test_constant_perturbation_has_no_spread() -> None:
    clean = Split(torch.full((5, 1, 4, 4), 0.25), torch.zeros(5, dtype=torch.int64), 10)
    made = AdversarialSet(clean, clean.x + 0.5, torch.ones(5).bool(), torch.zeros(5).bool())
    stats = PerturbationStats.of(made)
    assert vars(stats.pixels) == {"mean": 0.5, "std": 0.0, "min": 0.5, "max": 0.5}
    assert vars(stats.size("mse")) == {"mean": 0.25, "std": 0.0, "min": 0.25, "max": 0.25}


@given(st.permutations(range(12)))
def test_order_does_not_count(order: list[int]) -> None:
    made = adversarial()
    plain, mixed = PerturbationStats.of(made), PerturbationStats.of(made.subset(torch.tensor(order)))
    assert tuple(vars(plain.pixels).values()) == pytest.approx(tuple(vars(mixed.pixels).values()))
    for name in SIZES:
        assert vars(plain.size(name)) == pytest.approx(vars(mixed.size(name)))


@given(st.sampled_from([0.25, 0.5, 2.0]))
def test_norms_scale_and_squares_scale_squared(by: float) -> None:
    small, large = (PerturbationStats.of(adversarial(scale=s)) for s in (0.1, 0.1 * by))
    for name, power in {"l0": 0, "l1": 1, "l2": 1, "linf": 1, "mse": 2}.items():
        assert large.size(name).mean == pytest.approx(small.size(name).mean * by**power, rel=1e-4)


def test_failures_as_zero_is_a_figure_of_its_own() -> None:
    made = adversarial()
    stats, everything = PerturbationStats.of(made), PerturbationStats.of_all(made)
    assert stats.mse_failures_as_zero == pytest.approx(stats.size("mse").mean * stats.fooled.value)
    assert everything.mse_failures_as_zero == stats.mse_failures_as_zero
    assert everything.size("mse").mean > stats.mse_failures_as_zero


@pytest.mark.parametrize("n", [0, 4])
def test_nothing_measured_is_said_and_never_nan(n: int) -> None:
    stats = PerturbationStats.of(adversarial(n, success=torch.zeros(n).bool()))
    assert (stats.n, stats.failures, stats.pixels) == (0, n, None)
    for ask in (stats.size, stats.mean):
        with pytest.raises(SettingsError, match=f"made: no image of {n} was measured, so that there is no L2 norm"):
            ask("l2")
    assert "NaN" not in json.dumps(stats.as_dict())
    assert {figure for quantity, _, figure in stats.rows() if "norm" in quantity} == {"–"}
    assert stats.mse_failures_as_zero == (0 if n else None)


def test_unknown_sizes_are_refused() -> None:
    with pytest.raises(SettingsError, match="'l3' is no size of a perturbation: choose of l1, l2"):
        PerturbationStats.of(adversarial()).size("l3")
    with pytest.raises(SettingsError, match="'l3' is no size"):
        paired_size_difference(adversarial(), adversarial(), "l3")


def test_shared_originals_count_once() -> None:
    made = adversarial(40, success=torch.ones(40).bool(), image=torch.arange(40) // 2)
    stats = PerturbationStats.of(made)
    assert (stats.mean("l1").n, stats.fooled.independent) == (20, 20)
    assert stats.mean("l1").value == pytest.approx(stats.size("l1").mean)


def test_pairs_are_those_that_fooled_in_both() -> None:
    """The weak attack fools only the images that are easy, so that its own mean is the smaller one."""
    small = adversarial(40, success=torch.ones(40).bool(), scale=0.1)
    hard = torch.arange(40) >= 20
    size = torch.where(hard, 4.0, 0.9).view(-1, 1, 1, 1)
    large = AdversarialSet(small.clean, small.clean.x + (small.x - small.clean.x) * size, ~hard, small.unstable)
    difference = paired_size_difference(small, large, "l2")
    assert difference.n == 20
    assert above(difference, 0).verdict is Verdict.HOLDS


def test_other_images_or_targets_cannot_be_paired() -> None:
    with pytest.raises(SettingsError, match="not made from the same images and targets"):
        paired_size_difference(adversarial(12), adversarial(13), "l2")
    one, other = (adversarial(targets=torch.full((12,), t)) for t in (1, 2))
    with pytest.raises(SettingsError, match="not made from the same images and targets"):
        paired_size_difference(one, other, "l2")


def test_table_has_a_column_a_set() -> None:
    columns = {"minimal": PerturbationStats.of(adversarial()), "none": PerturbationStats.of(adversarial(0))}
    lines = perturbation_table(columns).splitlines()
    assert lines[0].split() == ["minimal", "none"]
    measured = next(line for line in lines if "measured" in line)
    assert measured.split()[-6:] == ["8", "of", "12", "0", "of", "0"]
    l2 = next(line for line in lines if line.startswith("L2 norm"))
    assert l2.split()[2:] == ["mean", f"{columns['minimal'].size('l2').mean:.3g}", "–"]
    assert perturbation_table(columns, "github").count("|") > len(lines)
    with pytest.raises(SettingsError, match="at least one set"):
        perturbation_table({})
