"""Raw-gradient ascent: against a loop over images, its closed form, and what minimal, extended and failed mean."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pytest_robust.attacks.catalogue import ASCENT, ASCENT_EXTENDED
from pytest_robust.attacks.crafting import craft
from pytest_robust.errors import AttackError
from pytest_robust.models.classifier import Classifier


def slow_ascent(model: Classifier, image: Tensor, target: int, step: float, steps: int, extra: int) -> Tensor:
    """The paper's loop for one image; the clean one where it fails."""

    def climbed(point: Tensor) -> Tensor:
        leaf = point.clone().requires_grad_()
        score = model(leaf[None]).log_softmax(1)[0, target]
        return (point + step * torch.autograd.grad(score, leaf)[0]).clamp(0, 1)

    point, taken = image, 0
    while int(model(point[None]).argmax()) != target:
        if taken == steps:
            return image
        point, taken = climbed(point), taken + 1
    for _ in range(extra):
        point = climbed(point)
    return point


@pytest.mark.parametrize(("steps", "extra"), [(50, 0), (50, 10), (6, 0), (6, 3), (1, 0)])
def test_it_equals_the_slow_one(steps, extra, toy, toy_images):
    x, targets = toy_images.x[:8], (toy_images.y[:8] + 1) % 4
    targets[0] = toy_images.y[0]  # reached before the first step
    made = ASCENT.configured(max_iter=steps, extra_iter=extra).build(toy).perturb(x, targets)
    expected = [slow_ascent(toy, x[i], int(targets[i]), 0.005, steps, extra) for i in range(8)]
    assert torch.allclose(made, torch.stack(expected), atol=1e-5)


def test_the_last_step_counts(toy, toy_images):
    """An image that fools the model after its last step, and not before, is an adversary."""
    x, target, passes = toy_images.x[:1], (toy_images.y[:1] + 1) % 4, []
    handle = toy.register_forward_hook(lambda *_: passes.append(1))
    expected = ASCENT.configured(max_iter=1000).build(toy).perturb(x, target)
    handle.remove()
    needed = len(passes) - 1  # the first pass comes before the first step
    made, failed = (ASCENT.configured(max_iter=n).build(toy).perturb(x, target) for n in (needed, needed - 1))
    assert toy.predict(made).tolist() == target.tolist()
    assert torch.equal(made, expected)
    assert torch.equal(failed, x)


def test_one_step_on_a_linear_model_is_the_gradient_of_the_log_probability(five_classes):
    """∇ log p_t = w_t − Σ_k p_k w_k."""
    x, y, weight = five_classes.split.x, five_classes.split.y, five_classes._weight
    p = five_classes.classifier.logits_of(x).softmax(1)
    # The answer itself as the target is reached at once, so that the one extra step is the only one.
    attack = ASCENT.configured(eps_step=1e-2, max_iter=1, extra_iter=1).build(five_classes.classifier)
    moved = attack.perturb(x, y) - x
    assert torch.allclose(moved, 1e-2 * (weight[y] - p @ weight).view_as(x), atol=1e-6)
    assert float(moved.abs().max()) > 1e-4


def test_extended_images_go_farther_than_minimal_ones(toy, toy_images):
    minimal, extended = (craft(attack, toy, toy_images, seed=0) for attack in (ASCENT, ASCENT_EXTENDED))
    assert bool(minimal.success.all() & extended.success.all())
    for norm in ("l1", "l2"):
        assert bool((extended.norms[norm] > minimal.norms[norm]).all())


def test_beyond_the_largest_distance_an_image_has_failed(toy, toy_images):
    free = craft(ASCENT, toy, toy_images, seed=0)
    limit = float(free.norms["l2"].median())
    kept = craft(ASCENT.configured(max_l2=limit), toy, toy_images, seed=0)
    near = free.norms["l2"] <= limit
    assert torch.equal(kept.x[near], free.x[near])
    assert torch.equal(kept.x[~near], toy_images.x[~near])
    assert torch.equal(kept.success, near)


def test_finished_images_leave(toy, toy_images):
    asked: list[int] = []
    handle = toy.register_forward_hook(lambda _, args, __: asked.append(len(args[0])))
    try:
        ASCENT.configured(max_iter=1000).build(toy).perturb(toy_images.x, (toy_images.y + 1) % 4)
    finally:
        handle.remove()
    assert asked == sorted(asked, reverse=True)
    assert sum(asked) < 60 * len(toy_images)


@settings(max_examples=15)
@given(
    extra=st.integers(0, 3),
    targeted=st.booleans(),
    step=st.floats(1e-3, 1.0),
    seed=st.integers(0, 2**31),
    order=st.permutations(range(5)),
)
def test_it_stays_in_the_box_in_any_batch_and_order(toy, extra, targeted, step, seed, order):
    x = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(seed)).mul(1.5).clamp(0, 1)
    y = torch.randint(0, 4, (5,), generator=torch.Generator().manual_seed(seed))
    target = "most_likely" if targeted else None
    attack = ASCENT.configured(eps_step=step, max_iter=4, extra_iter=extra, target=target)
    made, index = attack.build(toy).perturb(x, y), torch.tensor(order)
    assert float(made.min()) >= 0
    assert float(made.max()) <= 1
    again = attack.build(toy, batch_size=2).perturb(x[index], y[index])
    assert torch.allclose(again, made[index], atol=1e-3)
    done = (toy.predict(x) == y) == targeted
    if extra == 0:
        assert torch.equal(made[done], x[done])


@pytest.mark.parametrize("params", [{"eps_step": 0.0}, {"extra_iter": -1}, {"max_l2": 0.0}])
def test_impossible_settings_are_refused(params, toy):
    with pytest.raises(AttackError, match="GradientAscent needs"):
        ASCENT.configured(**params).build(toy)
