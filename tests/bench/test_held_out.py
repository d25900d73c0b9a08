"""Held-out images: what a threshold is set on is none of what the network was trained on, and no image is lost."""

from __future__ import annotations

from collections.abc import Callable

import torch

from pytest_robust.bench.bench import Bench
from pytest_robust.bench.held_out import SHARE, training_and_held_out
from pytest_robust.data.split import Split


def rows(*splits: Split) -> list[bytes]:
    """Every image as bytes, in an order of its own: the data set may hold an image twice."""
    return sorted(row.numpy().tobytes() for split in splits for row in split.x)


def test_training_and_held_out_images_are_disjoint_and_together_all(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench()
    assert bench.validation_split is None
    training, held_out = training_and_held_out(bench)
    assert rows(training, held_out) == rows(bench.train_split)
    assert len(held_out) == round(SHARE * len(bench.train_split))


def test_a_bench_that_holds_out_images_keeps_its_own(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench().with_profile(validation_images=100, train_images=500)
    training, held_out = training_and_held_out(bench)
    assert training is bench.train_split
    assert held_out is bench.validation_split


def test_the_choice_follows_the_seed(make_bench: Callable[..., Bench]) -> None:
    first, again, other = (training_and_held_out(make_bench(seed=seed))[1].x for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
