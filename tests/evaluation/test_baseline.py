"""A drop from a baseline fails when it is significant over all requirements together, and only then."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pytest_robust.errors import SettingsError
from pytest_robust.evaluation.baseline import compare_all, holm, paired_drop, two_sample_drop
from pytest_robust.evaluation.rate import Rate
from pytest_robust.evaluation.verdict import Verdict


def right(n: int, of: int = 1000) -> torch.Tensor:
    return torch.arange(of) < n


def test_the_same_outcomes_hold_and_are_not_worse() -> None:
    drop = paired_drop(right(900), right(900), 0.01, "pgd")
    (compared,) = compare_all([drop])
    assert drop.p == 1.0
    assert compared.judgement.verdict is Verdict.HOLDS
    assert not compared.worse


def test_a_clear_drop_on_the_same_images_is_worse() -> None:
    (compared,) = compare_all([paired_drop(right(900), right(870), 0.01, "pgd")])
    assert compared.worse
    assert compared.drop.paired
    assert "drop of 0.030 is significant" in compared.judgement.reason
    assert str(compared).startswith("pgd: 0.900 → 0.870, drop +0.030 (95% CI +0.0")


def test_the_same_drop_on_other_images_cannot_be_told() -> None:
    (compared,) = compare_all([two_sample_drop(Rate(900, 1000), Rate(870, 1000), 0.01)])
    assert compared.judgement.verdict is Verdict.INCONCLUSIVE
    assert not compared.worse
    assert "cannot rule out more than 0.01" in compared.judgement.reason


def test_a_drop_within_the_margin_is_not_worse_though_it_is_certain() -> None:
    old, new = right(9000, 10_000), right(8950, 10_000)
    assert compare_all([paired_drop(old, new)])[0].worse
    assert compare_all([paired_drop(old, new, 0.01)])[0].judgement.verdict is Verdict.HOLDS


def test_a_better_model_holds_even_without_a_margin() -> None:
    assert compare_all([paired_drop(right(870), right(900))])[0].judgement.verdict is Verdict.HOLDS
    assert compare_all([two_sample_drop(Rate(500, 1000), Rate(900, 1000))])[0].judgement.verdict is Verdict.HOLDS


def test_an_open_drop_says_how_many_images_would_rule_it_out() -> None:
    (compared,) = compare_all([two_sample_drop(Rate(90, 100), Rate(90, 100), 0.05)])
    needed = int(compared.judgement.reason.rsplit("about ", 1)[1].split()[0])
    rate = Rate(round(0.9 * needed), needed)
    assert two_sample_drop(rate, rate, 0.05).difference.upper <= 0.051


def test_a_drop_that_one_requirement_would_fail_passes_among_twenty() -> None:
    suspicious = paired_drop(right(900), right(894))  # p = 1/64
    unchanged = [paired_drop(right(900), right(900)) for _ in range(19)]
    assert compare_all([suspicious])[0].worse
    among = compare_all([suspicious, *unchanged])
    assert not any(c.worse for c in among)
    assert among[0].p_adjusted == pytest.approx(20 / 64)


def test_no_requirements_are_fine() -> None:
    assert compare_all([]) == []


@pytest.mark.parametrize("max_drop", [-0.01, 1.0, 5.0])
def test_a_drop_that_no_rate_can_make_is_refused(max_drop: float) -> None:
    with pytest.raises(SettingsError, match="max_drop"):
        paired_drop(right(5), right(5), max_drop, "pgd")


def test_clustered_rates_are_refused_rather_than_counted_twice() -> None:
    with pytest.raises(SettingsError, match="independent images"):
        two_sample_drop(Rate(50, 100, independent=50), Rate(50, 100))


p_values = st.lists(st.floats(1e-6, 1), min_size=1, max_size=20)


@given(p_values)
def test_holm_never_lowers_and_keeps_the_order(ps: list[float]) -> None:
    adjusted = holm(ps)
    assert all(p <= a <= 1 for p, a in zip(ps, adjusted, strict=True))
    assert all(
        a1 <= a2 for p1, a1 in zip(ps, adjusted, strict=True) for p2, a2 in zip(ps, adjusted, strict=True) if p1 < p2
    )
    assert all(a <= min(1, len(ps) * p) for p, a in zip(ps, adjusted, strict=True))


@given(p_values)
def test_holm_rejects_what_its_step_down_procedure_rejects(ps: list[float]) -> None:
    level = 0.05
    rejected, rest = set(), sorted(range(len(ps)), key=ps.__getitem__)
    while rest and len(rest) * ps[rest[0]] <= level:
        rejected.add(rest.pop(0))
    assert {i for i, a in enumerate(holm(ps)) if a <= level} == rejected


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), min_size=1, max_size=6))
def test_drops_judged_apart_stop_the_same_builds_as_drops_judged_together(discordant):
    drops = [paired_drop(right(lost, 80), torch.arange(80) >= 80 - gained) for lost, gained in discordant]
    together = [c.worse for c in compare_all(drops)]
    apart = [compare_all([d], together=len(drops))[0].worse for d in drops]
    assert any(together) == any(apart)
    assert all(t or not a for t, a in zip(together, apart, strict=True))


def test_fewer_drops_together_than_there_are_is_a_mistake():
    drop = paired_drop(right(90), right(80))
    with pytest.raises(SettingsError, match="2 drops are compared here, so 1 cannot be all of them"):
        compare_all([drop, drop], together=1)
