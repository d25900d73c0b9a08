"""What the checks are made of: points at the edge of a ball, the progress of a loss, a readout that plants."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pytest_robust.bench.bench import Bench
from pytest_robust.diagnosis.binarization import _fitted
from pytest_robust.diagnosis.budgets import on_the_edge, with_budget
from pytest_robust.diagnosis.optimisation import progress_of
from pytest_robust.diagnosis.probes import PROBES

SIZES = {math.inf: lambda d: d.abs().amax(1), 2.0: lambda d: d.norm(dim=1), 1.0: lambda d: d.abs().sum(1)}


@given(st.integers(0, 1000), st.floats(0.01, 0.5), st.sampled_from([math.inf, 2.0, 1.0]))
def test_points_at_the_edge_are_in_the_box_and_at_distance_eps(seed: int, eps: float, order: float) -> None:
    x = torch.rand(5, 1, 4, 4, generator=torch.Generator().manual_seed(seed))
    x[0], x[1] = 0.0, 1.0
    points = on_the_edge(x, eps, order, seed)
    assert 0 <= float(points.min()) <= float(points.max()) <= 1
    # With ε up to a half a value has room on one side at least, so nothing is lost at the edge of the box.
    assert torch.allclose(SIZES[order]((points - x).flatten(1)), torch.tensor(eps), atol=1e-5)


@given(st.lists(st.floats(-5, 5, width=32), min_size=4, max_size=30), st.integers(1, 3))
def test_progress_is_a_share_of_the_way(losses: list[float], last: int) -> None:
    curve = torch.tensor(losses)[:, None]
    progress = float(progress_of(curve, last))
    assert 0 <= progress <= 1 + 1e-6
    lowest_before, lowest = min(losses[:-last]), min(losses)
    way = max(losses) - lowest
    assert progress == pytest.approx((lowest_before - lowest) / way if way > 0 else 0.0, abs=1e-5)


@given(st.integers(0, 1000))
def test_a_readout_singles_out_the_last_row(seed: int) -> None:
    features = torch.randn(20, 64, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    weight, bias = _fitted(features)
    expected = torch.cat([-torch.ones(19, dtype=torch.float64), torch.ones(1, dtype=torch.float64)])
    assert torch.allclose(features @ weight + bias, expected, atol=1e-6)


def test_steps_grow_with_the_budget(bench: Bench) -> None:
    pgd = with_budget(bench.attack_named("pgd", eps=0.1, eps_step=0.01), 0.3)
    assert dict(pgd.params)["eps_step"] == pytest.approx(0.03)
    square = with_budget(bench.attack_named("square"), 0.3)
    assert square.eps == 0.3


def test_the_page_lists_the_checks_in_order_with_their_severity() -> None:
    page = (Path(__file__).parents[2] / "docs" / "diagnosis.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)`(?: †)? \| (error|warning)", page, flags=re.MULTILINE)
    assert rows == [(probe.name, str(probe.severity)) for probe in PROBES]
