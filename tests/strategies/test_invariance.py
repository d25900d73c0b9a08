"""assert_invariant: what passes, what it says of a failure, where shrinking ends, and what it refuses."""

from __future__ import annotations

import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from pytest_robust import strategies as robust
from pytest_robust.errors import DataError, InvarianceError, ModelError, SettingsError
from pytest_robust.strategies import assert_invariant

IMAGE = torch.full((1, 8, 8), 0.5)


def threshold(value, limit):
    """A model that answers 1 where `value` of an image is more than `limit`."""
    return lambda x: torch.stack([limit - value(x), value(x) - limit], 1)


def pixel(x):
    return x[:, 0, 2, 5]


def mean(x):
    return x.mean((1, 2, 3))


def shrunk(model, strategy, image=IMAGE, examples=300):
    """The perturbation that Hypothesis ends with."""

    @settings(max_examples=examples, derandomize=True, database=None)
    @given(strategy)
    def check(perturbation):
        last.append(perturbation)
        assert_invariant(model, image, perturbation)

    last = []
    with pytest.raises(InvarianceError) as failure:
        check()
    return last[-1], str(failure.value)


def test_linf_shrinks_to_the_threshold_of_one_pixel():
    found, text = shrunk(threshold(pixel, 0.52), robust.linf(0.1))
    assert 0.02 <= found.size <= 0.0202
    assert found.grid == 1
    assert "L∞ 0.02" in text


def test_l2_shrinks_to_the_threshold():
    found, _ = shrunk(threshold(mean, 0.55), robust.l2(2.0))  # 0.05 · √64 is a length of 0.4
    assert 0.4 <= found.size <= 0.403
    assert found.grid == 1


def test_l0_shrinks_to_the_one_pixel_that_matters():
    found, text = shrunk(threshold(pixel, 0.7), robust.l0(6))
    assert len(found.pixels) == 1
    row, column, change = found.pixels[0]
    assert (int(row * 8), int(column * 8)) == (2, 5)
    assert 0.2 <= change <= 0.2 + 1 / 255
    assert "L0 1" in text


@pytest.mark.parametrize(
    ("strategy", "read", "value", "limit", "smallest"),
    [
        (robust.brightness(0.5), lambda p: p.factor, mean, 0.55, 1.1),
        (robust.translation(5), lambda p: p.dx + p.dy, lambda x: 1 - x[:, 0, :2].mean((1, 2)), 0.6, 1),
        (robust.occlusion(6, fill=0.0), lambda p: p.size, lambda x: 1 - mean(x), 0.5 + 0.5 * 8 / 64, 3),
    ],
    ids=["brightness", "translation", "occlusion"],
)
def test_one_number_shrinks_to_its_threshold(strategy, read, value, limit, smallest):
    found, _ = shrunk(threshold(value, limit), strategy)
    assert smallest <= read(found) <= smallest + 0.002


@pytest.mark.parametrize("strategy", [robust.contrast(0.9), robust.rotation(60), robust.blur(3)])
def test_a_step_less_would_not_break_the_model(strategy):
    image = torch.zeros(1, 8, 8)
    image[0, 2, 5] = 1.0
    model = threshold(lambda x: 1 - pixel(x), 0.2)
    found, _ = shrunk(model, strategy, image)
    field = next(iter(vars(found)))
    nothing = 1.0 if field == "factor" else 0.0
    less = nothing + (getattr(found, field) - nothing) * 0.98
    assert_invariant(model, image, type(found)(less))


def test_a_model_that_never_changes_passes_with_any():
    @given(st.one_of(robust.linf(1.0), robust.rotation(180), robust.l0(9)))
    def check(perturbation):
        assert_invariant(lambda _: torch.tensor([[1.0, 2.0]]), torch.rand(3, 32, 32), perturbation)

    check()


def test_several_assertions_in_one_example_are_allowed():
    @settings(max_examples=20)
    @given(robust.linf(0.1))
    def check(perturbation):
        for _ in range(2):
            assert_invariant(threshold(mean, 0.9), IMAGE, perturbation)

    check()


def test_the_failure_says_what_it_takes_and_how_small_it_is():
    with pytest.raises(AssertionError) as failure:
        assert_invariant(threshold(mean, 0.55), IMAGE, robust.Brightness(1.2))
    text = str(failure.value)
    assert text == (
        "the answer changes from 0 to 1 (margin 0.1 on the clean image, 0.1 on the perturbed one).\n"
        "perturbation: Brightness(factor=1.2)\n"
        "its size on this image: L∞ 0.1, L2 0.8, L0 64"
    )
    again = pickle.loads(pickle.dumps(failure.value))
    assert str(again) == text
    assert torch.equal(again.images[1], failure.value.images[1])


def test_a_label_is_what_both_must_get():
    model = threshold(mean, 0.55)
    assert_invariant(model, IMAGE, robust.Brightness(1.0), label=torch.tensor(0))
    with pytest.raises(InvarianceError, match=r"from 0 \(the label\) to 1"):
        assert_invariant(model, IMAGE, robust.Brightness(1.2), label=0)
    with pytest.raises(InvarianceError, match="label is 1, but already the clean image is answered with 0"):
        assert_invariant(model, IMAGE, robust.Brightness(1.0), label=1)
    assert_invariant(model, IMAGE, robust.Brightness(1.2), label=1)


def test_the_pair_is_saved_where_the_user_says_and_the_smallest_stays(tmp_path):
    @settings(max_examples=100, derandomize=True, database=None)
    @given(robust.brightness(0.5))
    def check(perturbation):
        assert_invariant(threshold(mean, 0.55), IMAGE, perturbation, directory=tmp_path / "new")

    with pytest.raises(InvarianceError) as failure:
        check()
    assert failure.value.saved.parent == tmp_path / "new"
    assert {path.suffix for path in (tmp_path / "new").iterdir()} == {".png", ".safetensors"}
    assert len(list((tmp_path / "new").iterdir())) == 2
    pair = load_file(failure.value.saved.with_suffix(".safetensors"))
    assert torch.equal(pair["clean"], IMAGE)
    assert float(pair["perturbed"].mean()) == pytest.approx(0.55, abs=1e-3)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"image": torch.rand(2, 1, 8, 8)}, DataError, "one image at a time, not 2"),
        ({"image": 255 * torch.ones(1, 8, 8)}, DataError, "divide by 255"),
        ({"perturbation": 0.1}, SettingsError, "no Perturbation"),
        ({"label": 2}, SettingsError, "none of the model's 2 classes"),
        ({"model": None}, ModelError, "no model"),
        ({"model": lambda _: torch.full((1, 2), torch.nan)}, ModelError, "NaN or infinite"),
        ({"model": lambda _: torch.zeros(1, 1)}, ModelError, r"shape \(1, 1\)"),
        ({"model": lambda _: torch.zeros(2)}, ModelError, r"shape \(2,\)"),
        ({"model": torch.nn.Linear(3, 2).eval()}, ModelError, "Linear cannot take an image of shape"),
        ({"model": torch.nn.Linear(3, 2)}, ModelError, "call model.eval"),
    ],
)
def test_mistakes_get_a_sentence(arguments, error, message):
    given = {"model": threshold(mean, 0.6), "image": IMAGE, "perturbation": robust.Linf(0.1), "label": None}
    given |= arguments
    with pytest.raises(error, match=message):
        assert_invariant(given["model"], given["image"], given["perturbation"], label=given["label"])
