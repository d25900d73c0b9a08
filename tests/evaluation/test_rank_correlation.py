"""Spearman's ρ, its exact permutation p-value and its interval, against SciPy and by hand."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import permutation_test, rankdata, spearmanr

from pytest_robust.evaluation.rank_correlation import (
    permutation_p_values,
    rank_correlation,
    ranks,
    spearman,
)
from pytest_robust.evaluation.rate import Rate
from pytest_robust.evaluation.verdict import Verdict, above, below

#: Few different values, so that there are ties.
VALUES = st.lists(st.integers(0, 5), min_size=3, max_size=7)


@given(st.data())
def test_rho_is_scipys(data: st.DataObject) -> None:
    first = data.draw(VALUES)
    second = data.draw(st.lists(st.integers(0, 5), min_size=len(first), max_size=len(first)))
    one, other = (torch.tensor([values], dtype=torch.float64) for values in (first, second))
    assert ranks(one)[0].tolist() == rankdata(first).tolist()
    rho = float(spearman(one, other)[0])
    if len(set(first)) == 1 or len(set(second)) == 1:
        assert math.isnan(rho)
    else:
        assert rho == pytest.approx(float(spearmanr(first, second).statistic))


def test_ranks_of_many_networks_take_no_room_for_each_pair() -> None:
    """Half of a draw's 200,000 figures are ties; all pairs of them would be 40 billion."""
    values = torch.arange(200_000.0).clamp(min=99_999)[None]
    assert ranks(values)[0, [0, -1]].tolist() == [(1 + 100_000) / 2, 200_000]


@pytest.mark.parametrize(
    ("networks", "telling"), [(2, False), (3, False), (4, False), (5, True), (8, True), (12, True)]
)
def test_a_perfect_order_of_few_networks_is_chance(networks: int, telling: bool) -> None:
    order = torch.arange(float(networks))
    found = rank_correlation(order, order, order.expand(50, -1), order.expand(50, -1), n=50)
    assert found.value == 1.0
    assert found.telling is telling
    assert found.telling is (found.p_greater <= 0.025)


def test_p_values_are_those_of_every_permutation() -> None:
    first, second = [1.0, 2.0, 3.0, 4.0, 5.0], [1.0, 3.0, 2.0, 5.0, 5.0]
    greater, less = permutation_p_values(torch.tensor(first), torch.tensor(second))
    for found, side in ((greater, "greater"), (less, "less")):
        slow = permutation_test(
            (second,), lambda y: spearmanr(first, y).statistic, permutation_type="pairings", alternative=side
        )
        assert found == pytest.approx(slow.pvalue)


def test_eight_networks_in_perfect_order_are_chance_once_in_all_orders() -> None:
    order = torch.arange(8.0)
    greater, less = permutation_p_values(order, order)
    assert greater == pytest.approx(1 / math.factorial(8))
    assert less == 1.0


def test_large_families_are_permuted_at_random() -> None:
    order = torch.arange(12.0)
    greater, less = permutation_p_values(order, order)
    assert 0 < greater < 1e-4
    assert less == 1.0


def test_equal_figures_have_no_correlation_and_decide_nothing() -> None:
    first, same, drawn = torch.arange(4.0), torch.ones(4), torch.ones(100, 4)
    rho = rank_correlation(first, same, first.expand(100, 4), drawn, 50)
    assert math.isnan(rho.value)
    assert math.isnan(rho.p_greater)
    assert (rho.lower, rho.upper) == (-1.0, 1.0)
    assert above(rho, 0.0).verdict is Verdict.INCONCLUSIVE


def test_one_network_is_said_in_the_singular() -> None:
    one = torch.ones(1)
    assert str(rank_correlation(one, one, one.expand(9, 1), one.expand(9, 1), 50)).startswith("ρ undefined (1 network,")


def test_the_interval_is_that_of_the_draws() -> None:
    first = torch.arange(4.0)
    drawn = first.repeat(1000, 1)
    drawn[:10] = drawn[:10].flip(1)
    rho = rank_correlation(first, first, first.expand(1000, 4), drawn, 50)
    # One per cent of the draws lies outside of 95 %; the others agree.
    assert (rho.value, rho.lower, rho.upper) == (1.0, pytest.approx(1 - 2 * Rate(0, 50).upper), 1.0)
    drawn[:30] = first.flip(0)
    assert rank_correlation(first, first, first.expand(1000, 4), drawn, 50).lower == -1.0


def test_a_fall_is_judged_as_a_rise_is() -> None:
    first, drawn = torch.arange(4.0), torch.arange(4.0).expand(100, 4)
    fall = rank_correlation(first, -first, drawn, -drawn, 50)
    assert below(fall, 0.0).verdict is Verdict.HOLDS
    assert above(fall, 0.0).verdict is Verdict.FAILS
    assert below(rank_correlation(first, first, drawn, drawn, 50), 0.0).verdict is Verdict.FAILS
