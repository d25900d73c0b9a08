"""Degradations: the blur against SciPy's, noise that is one draw, and the first strength that fools."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from pytest_robust.attacks.blurring import TRUNCATE, blurred
from pytest_robust.attacks.catalogue import GAUSSIAN_BLUR, GAUSSIAN_NOISE, SALT_AND_PEPPER
from pytest_robust.attacks.crafting import craft
from pytest_robust.data.split import Split
from pytest_robust.errors import AttackError
from pytest_robust.models.classifier import Classifier

ALL = [GAUSSIAN_BLUR.configured(largest=10.0, steps=20), GAUSSIAN_NOISE, SALT_AND_PEPPER]
NAMES = ["blur", "noise", "salt and pepper"]


@settings(max_examples=30)
@given(
    sigma=st.floats(0.05, 30),
    shape=st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9)),
    seed=st.integers(0, 2**31),
)
def test_the_blur_is_scipys(sigma, shape, seed):
    x = torch.rand(2, *shape, generator=torch.Generator().manual_seed(seed))
    expected = gaussian_filter(x.double().numpy(), (0, 0, sigma, sigma), mode="mirror", truncate=TRUNCATE)
    assert np.allclose(blurred(x, sigma).numpy(), expected, atol=1e-5)


def test_a_wide_blur_leaves_one_colour():
    x = torch.rand(2, 3, 8, 8)
    flat = blurred(x, 40.0)
    assert float((flat.amax((2, 3)) - flat.amin((2, 3))).max()) < 0.01


def line(attack, model, x, seed=3):
    """The attack's line along these images, rows and strength given."""
    built = attack.build(model, seed=seed)
    return built._line(x, torch.zeros(len(x), dtype=torch.int64), torch.arange(len(x)))


def coloured() -> tuple[Classifier, torch.Tensor]:
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(300, 3))
    x = torch.rand(5, 3, 10, 10, generator=torch.Generator().manual_seed(0))
    return Classifier(model, num_classes=3, input_shape=(3, 10, 10)), x


def test_noise_is_one_draw_that_is_scaled():
    model, x = coloured()
    inside = 0.5 + 0 * x
    along = line(GAUSSIAN_NOISE, model, inside)
    rows = torch.tensor([3, 0])
    unit = (along(rows, 1e-3) - 0.5) / 1e-3
    assert torch.allclose(along(rows, 0.05), (0.5 + 0.05 * unit).clamp(0, 1), atol=1e-4)
    assert abs(float(unit.mean())) < 0.2
    assert abs(float(unit.std()) - 1) < 0.1
    assert not torch.allclose(unit[0], unit[1], atol=0.5)


@pytest.mark.parametrize(("smaller", "larger"), [(0.01, 0.02), (0.1, 0.5), (0.5, 1.0)])
def test_salt_and_pepper_are_whole_pixels_in_nested_sets(smaller, larger):
    model, x = coloured()
    x = 0.2 + 0.6 * x
    along, rows = line(SALT_AND_PEPPER, model, x), torch.arange(5)
    less, more = along(rows, smaller), along(rows, larger)
    changed = (less != x).all(1)
    assert torch.equal((less != x).any(1), changed)
    assert changed.flatten(1).sum(1).tolist() == [round(smaller * 100)] * 5
    assert torch.equal(torch.where(changed[:, None], more, 0), torch.where(changed[:, None], less, 0))
    white = more[(more != x)]
    assert set(white.tolist()) == {0.0, 1.0}


def test_salt_is_as_frequent_as_pepper():
    model, x = coloured()
    full = line(SALT_AND_PEPPER, model, x)(torch.arange(5), 1.0)
    assert 200 < int(full[:, 0].sum()) < 300  # of 500: five standard deviations are 56


def test_of_several_repetitions_the_smallest_share_counts(toy, toy_images):
    x, y = toy_images.x, toy_images.y

    def shares(repetitions: int) -> torch.Tensor:
        made = SALT_AND_PEPPER.build(toy, seed=3, repetitions=repetitions).perturb(x, y)
        fooled = toy.predict(made) != y
        return torch.where(fooled, (made != x).flatten(1).float().mean(1), 2.0)

    built = SALT_AND_PEPPER.build(toy, seed=3, repetitions=4)
    along = built._lines(x, y, torch.arange(len(x)))
    expected = torch.full((len(x),), 2.0)
    for one in along:  # slowly, a repetition after the other
        for i in range(len(x)):
            tried = (one(torch.tensor([i]), k / 100) for k in range(1, 101))
            first = next((t for t in tried if int(toy.predict(t)) != int(y[i])), None)
            if first is not None:
                expected[i] = min(expected[i], float((first[0] != x[i]).float().mean()))
    found = shares(4)
    right = toy.predict(x) == y
    # Two repetitions can be done at the same hundredth, and one of them found a pixel that was white before.
    assert torch.allclose(found[right], expected[right], atol=0.02)
    assert float(found[right].mean()) < float(shares(1)[right].mean())


def test_salt_and_pepper_without_a_repetition_is_refused(toy):
    with pytest.raises(AttackError, match="SaltAndPepper needs repetitions >= 1, not 0"):
        SALT_AND_PEPPER.build(toy, repetitions=0)


@pytest.mark.parametrize("attack", ALL, ids=NAMES)
def test_the_first_strength_that_fools_is_taken(attack, toy, toy_images):
    x, y = toy_images.x, toy_images.y
    made = attack.build(toy, seed=3).perturb(x, y)
    along = line(attack, toy, x)
    largest, steps = attack.params["largest"], attack.params["steps"]
    fooled = 0
    for i in range(len(x)):
        expected = x[i]
        for k in range(1, steps + 1):
            tried = along(torch.tensor([i]), largest * k / steps)
            if int(toy.predict(tried)) != int(y[i]):
                expected, fooled = tried[0], fooled + 1
                break
        assert torch.allclose(made[i], expected, atol=1e-6)
    assert fooled > 10


@settings(max_examples=12)
@given(attack=st.sampled_from(ALL), batch=st.integers(1, 6), seed=st.integers(0, 2**31))
def test_results_are_images_and_do_not_depend_on_the_batch(toy, attack, batch, seed):
    x = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(seed))
    y = toy.predict(x)
    made = attack.build(toy, seed=seed).perturb(x, y)
    assert float(made.min()) >= 0
    assert float(made.max()) <= 1
    assert torch.allclose(attack.build(toy, seed=seed, batch_size=batch).perturb(x, y), made, atol=1e-6)
    wrong = torch.cat([(y[:4] + 1) % 4, y[4:]])
    again = attack.build(toy, seed=seed).perturb(x, wrong)
    assert torch.equal(again[:4], x[:4])
    assert torch.allclose(again[4:], made[4:], atol=1e-6)


@pytest.mark.parametrize("attack", ALL, ids=NAMES)
def test_no_gradient_is_asked_for(attack, toy_images):
    class NoGradient(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            mean = x.detach().mean((1, 2, 3))
            return torch.stack([9 * mean, 4 - mean], 1)

    model = Classifier(NoGradient(), num_classes=2, input_shape=(1, 8, 8), name="detached")
    labels = model.predict(toy_images.x)
    made = craft(attack, model, Split(toy_images.x, labels, 2), seed=0)
    assert len(made) == len(toy_images)
    assert made.provenance["gradient_calls"] == 0
