"""The bootstrap over images, against drawing the images and computing the plain way."""

from __future__ import annotations

import math
from unittest.mock import patch

import pytest
import torch
from torch import Tensor

from pytest_robust.evaluation import bootstrap as module
from pytest_robust.evaluation.bootstrap import (
    bootstrap,
    everybody,
    percentile_interval,
    weighted_mean,
    weighted_median,
)
from pytest_robust.evaluation.estimate import median_of
from pytest_robust.evaluation.rate import Rate


@pytest.fixture
def table() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    values = torch.rand(11, 3, generator=generator, dtype=torch.float64)
    return values, torch.rand(11, 3, generator=generator) < 0.7


def picked(weights: Tensor, column: Tensor, mask: Tensor) -> list[float]:
    """The slow way: every image as often as it was drawn."""
    rows = zip(weights.tolist(), column.tolist(), mask.tolist(), strict=True)
    return sorted(v for w, v, m in rows if m for _ in range(int(w)))


def test_weighted_figures_are_those_of_the_drawn_images(table: tuple[Tensor, Tensor]) -> None:
    values, counted = table
    weights = bootstrap(lambda w: w, 11, draws=20)
    means, medians = weighted_mean(weights, values, counted), weighted_median(weights, values, counted)
    for draw in range(20):
        for network in range(3):
            drawn = picked(weights[draw], values[:, network], counted[:, network])
            assert float(means[draw, network]) == pytest.approx(sum(drawn) / len(drawn))
            assert float(medians[draw, network]) == float(median_of(torch.tensor(drawn, dtype=torch.float64)).value)


def test_every_draw_has_as_many_images_and_blocks_do_not_show() -> None:
    whole = bootstrap(lambda w: w, 13, draws=50)
    assert whole.sum(1).tolist() == [13.0] * 50
    assert len(whole.unique(dim=0)) > 40
    with patch.object(module, "BLOCK", 13 * 7):
        assert bootstrap(lambda w: w, 13, draws=50).equal(whole)


def test_what_is_not_counted_is_not_looked_at() -> None:
    values = torch.tensor([[1.0], [math.nan], [3.0]])
    counted = torch.tensor([[True], [False], [True]])
    assert float(weighted_mean(everybody(3), values, counted)) == 2.0
    assert float(weighted_median(everybody(3), values, counted)) == 2.0
    nothing = torch.zeros_like(counted)
    assert math.isnan(float(weighted_mean(everybody(3), values, nothing)))
    assert math.isnan(float(weighted_median(everybody(3), values, nothing)))


def test_draws_without_a_figure_never_shorten_the_interval() -> None:
    drawn = torch.linspace(-0.1, 0.1, 2000).double()
    sound = percentile_interval(0.0, drawn, 900, worst=(-1, 1))
    assert (sound.lower, sound.upper) == (pytest.approx(-0.095, abs=1e-3), pytest.approx(0.095, abs=1e-3))
    drawn[::10] = math.nan
    broken = percentile_interval(0.0, drawn, 900, worst=(-1, 1))
    assert (broken.lower, broken.upper) == (-1.0, 1.0)


def test_of_fewer_than_six_images_the_interval_is_the_whole_range() -> None:
    drawn = torch.full((2000,), 0.7).double()
    ends = {n: percentile_interval(0.7, drawn, n, worst=(-1, 1)).lower for n in (1, 5, 6)}
    assert ends == {1: -1.0, 5: -1.0, 6: pytest.approx(0.7 - 1.7 * Rate(0, 6).upper)}


def test_draws_that_are_all_alike_have_the_exact_interval_of_a_rate() -> None:
    for k in (0, 40):
        found = percentile_interval(k / 40, torch.full((2000,), k / 40).double(), 40, worst=(0, 1))
        assert (found.lower, found.upper) == (pytest.approx(Rate(k, 40).lower), pytest.approx(Rate(k, 40).upper))


@pytest.mark.parametrize("share", [0.01, 0.02, 0.99])
def test_the_interval_covers_what_happens_to_few_images(share: float) -> None:
    """In two of three samples of 40, a thing that happens to one image of a hundred happens to none."""
    generator, inside = torch.Generator().manual_seed(0), 0
    for _ in range(200):
        values = (torch.rand(40, 1, generator=generator) < share).double()
        drawn = bootstrap(lambda w, v=values: weighted_mean(w, v, v >= 0)[:, 0], 40, draws=400)
        interval = percentile_interval(float(values.mean()), drawn, 40, worst=(0, 1))
        inside += interval.lower <= share <= interval.upper
    assert inside / 200 >= 0.95 - 3 * math.sqrt(0.05 * 0.95 / 200)


@pytest.mark.parametrize("images", [6, 10, 60])
def test_the_interval_of_a_mean_covers_in_simulation(images: int) -> None:
    """The plain percentile interval of six images covers 85 %."""
    generator, inside = torch.Generator().manual_seed(0), 0
    for _ in range(300):
        values = torch.rand(images, 1, generator=generator, dtype=torch.float64)
        drawn = bootstrap(lambda w, v=values: weighted_mean(w, v, v >= 0)[:, 0], images)
        interval = percentile_interval(float(values.mean()), drawn, images, worst=(0, 1))
        inside += interval.lower <= 0.5 <= interval.upper
    assert inside / 300 >= 0.95 - 3 * math.sqrt(0.05 * 0.95 / 300)
