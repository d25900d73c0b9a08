"""Random numbers that belong to an image: uniform, repeatable, and independent of the batch."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pytest_robust.attacks.draws import normal, signs, uniform

seeds = st.integers(0, 2**63 - 1)


def mixed(state: int) -> int:
    """SplitMix64's finaliser with Python's integers."""
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) % 2**64
    return state ^ (state >> 31)


@given(seed=seeds, step=st.integers(0, 10**6), number=st.integers(0, 10**9), place=st.integers(0, 50))
def test_the_hash_is_that_of_unsigned_arithmetic(seed, step, number, place):
    golden, state = 0x9E3779B97F4A7C15, mixed(number + 1)
    for part in (seed, step):
        state = mixed((state + (part + 1) * golden) % 2**64)
    expected = (mixed((state + (place + 1) * golden) % 2**64) >> 40) / 2**24
    assert float(uniform(seed, (step,), torch.tensor([number]), place + 1)[0, place]) == expected


@settings(max_examples=20)
@given(seed=seeds, order=st.permutations(range(6)))
def test_an_images_numbers_depend_on_nothing_but_its_own(seed, order):
    whole = uniform(seed, (1, 2), torch.arange(6), 9)
    assert torch.equal(uniform(seed, (1, 2), torch.tensor(order), 9), whole[torch.tensor(order)])
    assert torch.equal(uniform(seed, (1, 2), torch.arange(6), 4), whole[:, :4])
    assert not torch.equal(uniform(seed, (2, 1), torch.arange(6), 9), whole)


def test_they_are_uniform_fair_and_normal():
    """At 1e-4 each; the numbers are fixed, so this holds always or never."""
    numbers = torch.arange(400)
    drawn = uniform(3, (0,), numbers, 100)
    assert float(drawn.min()) >= 0
    assert float(drawn.max()) < 1
    assert stats.kstest(drawn.flatten(), "uniform").pvalue > 1e-4
    assert stats.kstest(drawn[:, 0], "uniform").pvalue > 1e-4
    assert stats.kstest(normal(3, (0,), numbers, 100).flatten(), "norm").pvalue > 1e-4
    assert stats.binomtest(int((signs(3, (0,), numbers, 100) > 0).sum()), 40_000).pvalue > 1e-4
    neighbours = torch.corrcoef(torch.stack([drawn[:-1].flatten(), drawn[1:].flatten()]))[0, 1]
    assert abs(float(neighbours)) < 4 / 39_900**0.5
    assert bool(torch.isfinite(normal(3, (0,), numbers, 100)).all())
