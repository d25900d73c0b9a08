"""Matrices by (original, target) class count what a slow loop counts, and the greatest rate allows for its choice."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_robust.errors import SettingsError
from pytest_robust.evaluation.pairs import ExtremeRate, PairCounts, pair_means
from pytest_robust.evaluation.rate import Rate

entries = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), st.booleans()), max_size=30)


@given(entries)
@settings(max_examples=40)
def test_counts_and_means_are_the_slow_loops(rows: list[tuple[int, int, bool]]) -> None:
    original, target = (torch.tensor([row[i] for row in rows], dtype=torch.int64) for i in (0, 1))
    mask = torch.tensor([row[2] for row in rows], dtype=torch.bool)
    images = torch.rand(len(rows), 1, 2, 3, generator=torch.Generator().manual_seed(0))
    counts, means = PairCounts.of(mask, original, target, 3), pair_means(images, original, target, 3)
    for i in range(3):
        for j in range(3):
            here = [n for n, row in enumerate(rows) if row[:2] == (i, j)]
            assert (counts.k[i, j], counts.n[i, j]) == (sum(rows[n][2] for n in here), len(here))
            assert bool(counts.share[i, j].isnan()) is (not here)
            if here:
                torch.testing.assert_close(means[i, j].float(), images[here].mean(0))
            else:
                assert means[i, j].isnan().all()


def test_greatest_of_equal_rates_is_not_proven_greater() -> None:
    generator = torch.Generator().manual_seed(0)
    covered = 0
    for _ in range(200):
        drawn = (torch.rand(90, 20, generator=generator) < 0.5).sum(1).tolist()
        greatest = ExtremeRate([Rate(k, 20) for k in drawn])
        assert greatest.value > 0.6
        covered += greatest.lower <= 0.5 <= greatest.upper
    assert covered >= 181  # 95 % of 200, less three standard deviations


def test_greatest_is_found_among_filled_pairs() -> None:
    counts = PairCounts(torch.tensor([[0, 3], [1, 0]]), torch.tensor([[0, 4], [4, 0]]))
    assert (counts.greatest.value, counts.greatest.n) == (0.75, 4)
    assert counts.greatest.at(4000).lower > 0.7
    assert str(counts.greatest).startswith("0.750 (greatest of 2, 95% CI ")
    assert math.isnan(counts.share[0, 0])


def test_mistakes_are_named() -> None:
    zeros = torch.zeros(2, dtype=torch.int64)
    with pytest.raises(SettingsError, match=r"labels must be in 0\.\.2, but run from 0 to 3"):
        PairCounts.of(torch.ones(2).bool(), zeros, zeros + 3, 3)
    with pytest.raises(SettingsError, match="2 entries need 2 original"):
        pair_means(torch.zeros(2, 1, 1, 1), zeros[:1], zeros, 3)
    with pytest.raises(SettingsError, match=r"no \(original, target\) pair has an entry"):
        _ = PairCounts.of(torch.zeros(0).bool(), zeros[:0], zeros[:0], 3).greatest
