"""A Split keeps images and labels together, and refuses what is not images in [0, 1] with labels in range."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pytest_robust.data.dataset import Dataset
from pytest_robust.data.split import Split
from pytest_robust.errors import DataError

quick = settings(deadline=None, max_examples=50)


def make(n: int = 6, num_classes: int = 3, seed: int = 0, shape: tuple[int, int, int] = (1, 4, 5)) -> Split:
    draw = torch.Generator().manual_seed(seed)
    x = torch.rand((n, *shape), generator=draw)
    return Split(x, torch.randint(num_classes, (n,), generator=draw), num_classes, name="made")


@st.composite
def splits(draw: st.DrawFn, min_size: int = 0) -> Split:
    shape = draw(st.tuples(st.sampled_from([1, 3]), st.integers(1, 4), st.integers(1, 4)))
    n, classes, seed = draw(st.integers(min_size, 12)), draw(st.integers(1, 5)), draw(st.integers(0, 1000))
    return make(n, classes, seed, shape)


@quick
@given(splits(), st.data())
def test_a_subset_holds_the_images_at_its_positions_in_their_order(split: Split, data: st.DataObject) -> None:
    positions = data.draw(st.lists(st.integers(0, len(split) - 1)) if len(split) else st.just([]))
    part = split.subset(positions)
    assert len(part) == len(positions)
    for k, position in enumerate(positions):
        assert torch.equal(part.x[k], split.x[position])
        assert part.y[k] == split.y[position]
    assert part.num_classes == split.num_classes


@quick
@given(splits(), st.data())
def test_a_mask_picks_what_its_positions_pick(split: Split, data: st.DataObject) -> None:
    mask = data.draw(st.lists(st.booleans(), min_size=len(split), max_size=len(split)))
    positions = [k for k, picked in enumerate(mask) if picked]
    assert split.subset(mask).fingerprint == split.subset(positions).fingerprint
    assert split.subset(torch.tensor(mask, dtype=torch.bool)).fingerprint == split.subset(positions).fingerprint


@pytest.mark.parametrize(
    ("index", "words"),
    [
        ([6], "positions run from 6 to 6, but there are 6 images"),
        ([-1, 2], "from -1 to 2"),
        ([True, False], "bool mask of shape \\(6,\\)"),
        ([0.0, 1.0], "float32"),
        ([[0, 1]], "shape \\(1, 2\\)"),
    ],
)
def test_an_index_that_no_image_has_is_named(index: list[int], words: str) -> None:
    with pytest.raises(DataError, match=words):
        make().subset(index)


@quick
@given(splits(), st.integers(0, 15), st.integers(0, 1000))
def test_a_sample_has_no_image_twice_and_is_drawn_the_same_again(split: Split, size: int, seed: int) -> None:
    rows = torch.arange(len(split), dtype=torch.float32).view(-1, 1, 1, 1) / 100
    marked = Split(rows.expand(-1, *split.input_shape).clone(), split.y, split.num_classes)
    drawn = marked.sample(size, seed)
    assert len(drawn) == min(size, len(split))
    assert len(drawn.x[:, 0, 0, 0].unique()) == len(drawn)
    assert drawn.fingerprint == marked.sample(size, seed).fingerprint


def test_another_seed_draws_another_sample_and_the_name_tells_which() -> None:
    split = make(100)
    assert split.sample(50, seed=0).fingerprint != split.sample(50, seed=1).fingerprint
    assert split.sample(50, seed=1).name == "made[50 of 100, seed 1]"
    with pytest.raises(DataError, match="a sample of -1 images"):
        split.sample(-1, seed=0)


def test_a_sample_does_not_touch_the_global_random_state() -> None:
    before = torch.get_rng_state()
    make().sample(3, seed=0)
    assert torch.equal(torch.get_rng_state(), before)


@quick
@given(splits(), st.integers(1, 6), st.data())
def test_relabelled_changes_labels_alone(split: Split, num_classes: int, data: st.DataObject) -> None:
    label = data.draw(st.integers(0, num_classes - 1))
    other = split.relabelled(label, num_classes)
    assert torch.equal(other.x, split.x)
    assert other.y.tolist() == [label] * len(split)
    assert (other.num_classes, other.kind) == (num_classes, split.kind)


@pytest.mark.parametrize("label", [-1, 3])
def test_relabelled_refuses_a_label_out_of_range(label: int) -> None:
    with pytest.raises(DataError, match=r"labels must be in 0\.\.2"):
        make().relabelled(label, 3)


@quick
@given(splits(min_size=2), st.randoms(use_true_random=False))
def test_the_fingerprint_sees_the_order(split: Split, random: object) -> None:
    order = list(range(len(split)))
    random.shuffle(order)  # type: ignore[attr-defined]
    moved = split.subset(order)
    same = torch.equal(moved.x, split.x) and torch.equal(moved.y, split.y)
    assert (moved.fingerprint == split.fingerprint) == same


@quick
@given(splits(min_size=1), st.data())
def test_the_fingerprint_sees_a_single_bit(split: Split, data: st.DataObject) -> None:
    position = data.draw(st.integers(0, split.x.numel() - 1))
    x = split.x.clone()
    value = x.view(-1)[position]
    x.view(-1)[position] = torch.nextafter(value, torch.tensor(0.0 if value > 0 else 1.0))
    assert Split(x, split.y, split.num_classes).fingerprint != split.fingerprint
    assert Split(split.x.clone(), split.y.clone(), split.num_classes, "other").fingerprint == split.fingerprint


def test_the_fingerprint_counts_labels_classes_and_shape_but_not_memory_format() -> None:
    split = make(shape=(3, 4, 4))
    assert split.relabelled(0, 3).fingerprint != split.fingerprint
    assert Split(split.x, split.y, 4).fingerprint != split.fingerprint
    assert Split(split.x.view(6, 3, 2, 8), split.y, 3).fingerprint != split.fingerprint
    last = split.x.to(memory_format=torch.channels_last)
    assert Split(last, split.y, 3).fingerprint == split.fingerprint


def test_an_empty_split_is_a_split() -> None:
    empty = make().subset([])
    assert len(empty) == 0
    assert empty.input_shape == (1, 4, 5)
    assert len(empty.fingerprint) == 64


def test_moving_keeps_the_fingerprint() -> None:
    split = make()
    assert split.to("cpu").fingerprint == split.fingerprint
    fresh = make()
    assert fresh.to("cpu").fingerprint == split.fingerprint


def test_the_end_points_of_the_range_are_inside() -> None:
    x = torch.tensor([0.0, 1.0]).view(2, 1, 1, 1)
    assert len(Split(x, torch.zeros(2, dtype=torch.int64), 1)) == 2


@quick
@given(splits(min_size=1), st.data(), st.sampled_from([math.nan, math.inf, -math.inf]))
def test_a_single_value_that_is_not_finite_is_refused(split: Split, data: st.DataObject, bad: float) -> None:
    x = split.x.clone()
    x.view(-1)[data.draw(st.integers(0, x.numel() - 1))] = bad
    with pytest.raises(DataError, match=r"must be finite and in .*: find where they become NaN or infinite"):
        Split(x, split.y, split.num_classes)


@quick
@given(splits(min_size=1), st.floats(-1e6, 1e6, width=32), st.data())
def test_a_single_value_out_of_range_is_refused(split: Split, bad: float, data: st.DataObject) -> None:
    assume(not 0.0 <= bad <= 1.0)
    x = split.x.clone()
    x.view(-1)[data.draw(st.integers(0, x.numel() - 1))] = bad
    with pytest.raises(DataError, match="must be finite and in"):
        Split(x, split.y, split.num_classes)


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (torch.full((2, 1, 2, 2), 200.0), "divide by 255"),
        (torch.full((2, 1, 2, 2), 16.0), "divide by their largest possible value, 16 here"),
        (torch.full((2, 1, 2, 2), 4095.0), "divide by their largest possible value, 4095 here"),
        (torch.full((2, 1, 2, 2), -0.4), "undo any normalisation"),
        (torch.zeros(2, 1, 2, 2, dtype=torch.float64), "float32 tensor of shape .* not torch.float64"),
        (torch.zeros(2, 2, 2), r"not torch.float32 of shape \(2, 2, 2\)"),
        (torch.zeros(2, 1, 0, 2), "have no pixels"),
        (np.zeros((2, 1, 2, 2), dtype=np.float32), "not ndarray"),
    ],
)
def test_wrong_images_say_what_to_do(x: torch.Tensor, words: str) -> None:
    with pytest.raises(DataError, match=f"mine: .*{words}"):
        Split(x, torch.zeros(2, dtype=torch.int64), 1, name="mine")


@pytest.mark.parametrize(
    ("y", "words"),
    [
        (torch.tensor([0, 3]), r"in 0\.\.2, but run from 0 to 3"),
        (torch.tensor([-1, 0]), "run from -1 to 0"),
        (torch.tensor([0]), r"int64 tensor of shape \(2,\)"),
        (torch.tensor([0.0, 1.0]), "not torch.float32"),
        ([0, 1], "not list"),
    ],
)
def test_wrong_labels_say_what_to_do(y: torch.Tensor, words: str) -> None:
    with pytest.raises(DataError, match=f"mine: .*{words}"):
        Split(torch.zeros(2, 1, 2, 2), y, 3, name="mine")


def test_a_dataset_agrees_with_itself() -> None:
    dataset = Dataset("mine", make(6), make(4), ("a", "b", "c"))
    assert (dataset.num_classes, dataset.input_shape) == (3, (1, 4, 5))
    with pytest.raises(DataError, match="mine: made counts 3 classes, but 2 class names"):
        Dataset("mine", make(), make(), ("a", "b"))
    with pytest.raises(DataError, match=r"train images are \(1, 4, 5\).*test images \(3, 4, 5\)"):
        Dataset("mine", make(), make(shape=(3, 4, 5)), ("a", "b", "c"))
