"""JSMA against its paper's algorithm, written down slowly, and what holds for every image."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from pytest_robust.attacks import jsma
from pytest_robust.attacks.catalogue import JSMA
from pytest_robust.attacks.jsma import best_pairs
from pytest_robust.errors import AttackError
from pytest_robust.models.classifier import Classifier


def slow_pair(alpha: list[float], beta: list[float], domain: list[int]) -> tuple[float, tuple[int, int] | None]:
    """Algorithm 3's loop over all pairs: the best score and its pair."""
    best, chosen = 0.0, None
    for p, q in itertools.combinations(domain, 2):
        a, b = alpha[p] + alpha[q], beta[p] + beta[q]
        if a > 0 and b < 0 and -a * b > best:
            best, chosen = -a * b, (p, q)
    return best, chosen


def slow_jsma(model: Classifier, image: Tensor, label: int, target: int | None, theta: float, gamma: float) -> Tensor:
    """Algorithms 2 and 3 for one image with the whole Jacobian."""
    point, touched = image.flatten().clone(), set()
    goal = target
    if goal is None:
        logits = model(image[None])[0].detach()
        goal = max((k for k in range(len(logits)) if k != label), key=lambda k: float(logits[k]))
    while True:
        answer = int(model(point.view_as(image)[None]).argmax())
        if answer == target or (target is None and answer != label):
            return point.view_as(image)
        jacobian = torch.autograd.functional.jacobian(lambda p: model(p.view_as(image)[None])[0], point)
        alpha, beta = jacobian[goal], jacobian.sum(0) - jacobian[goal]
        if theta < 0:
            alpha, beta = -alpha, -beta
        domain = [i for i, v in enumerate(point.tolist()) if (v < 1 if theta > 0 else v > 0)]
        _, pair = slow_pair(alpha.tolist(), beta.tolist(), domain)
        if pair is None or len(touched | set(pair)) > gamma * len(point):
            return point.view_as(image)
        for i in pair:
            point[i] = min(1.0, max(0.0, float(point[i]) + theta))
        touched |= set(pair)


@pytest.mark.parametrize(
    ("theta", "gamma", "targeted"),
    [(1.0, 0.145, False), (0.25, 0.5, True), (-0.3, 0.3, False), (0.1, 0.04, True)],
)
def test_it_equals_the_slow_one(theta, gamma, targeted, toy, toy_images):
    x, y = toy_images.x[:6], toy_images.y[:6]
    goals = (y + 2) % 4 if targeted else y
    attack = JSMA.configured(theta=theta, gamma=gamma, target="least_likely" if targeted else None)
    made = attack.build(toy).perturb(x, goals)
    for i in range(len(x)):
        expected = slow_jsma(toy, x[i], int(y[i]), int(goals[i]) if targeted else None, theta, gamma)
        assert torch.allclose(made[i], expected, atol=1e-6), i


#: Few different values, so that ties and values inferior to none abound.
slopes = st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3), st.booleans()), min_size=1, max_size=9)


@settings(max_examples=300)
@given(rows=slopes)
def test_no_pair_beats_the_best_one(rows):
    alpha, relief = [float(a) for a, _, _ in rows], [float(c) for _, c, _ in rows]
    domain = [i for i, (_, _, usable) in enumerate(rows) if usable]
    expected, _ = slow_pair(alpha, [-c for c in relief], domain)
    pairs, found = best_pairs(*(torch.tensor([v]) for v in (alpha, relief, [usable for _, _, usable in rows])))
    assert bool(found) == (expected > 0)
    if expected > 0:
        p, q = pairs[0].tolist()
        assert p != q
        assert {p, q} <= set(domain)
        assert (alpha[p] + alpha[q]) * (relief[p] + relief[q]) == expected


@pytest.mark.parametrize("worst", [False, True], ids=["random", "every value a candidate"])
def test_the_best_pair_of_an_mnist_image_is_exact_in_small_blocks_too(worst, monkeypatch):
    generator = torch.Generator().manual_seed(0)
    alpha = torch.randn(3, 784, generator=generator)
    relief = -alpha + 0.1 if worst else torch.randn(3, 784, generator=generator)
    scores = ((alpha[:, :, None] + alpha[:, None]) * (relief[:, :, None] + relief[:, None])).double()
    valid = (alpha[:, :, None] + alpha[:, None] > 0) & (relief[:, :, None] + relief[:, None] > 0)
    best = scores.masked_fill(~valid | torch.eye(784, dtype=torch.bool), 0).flatten(1).amax(1)
    for block in (jsma.BLOCK, 5000):
        monkeypatch.setattr(jsma, "BLOCK", block)
        pairs, found = best_pairs(alpha, relief, torch.ones_like(alpha, dtype=torch.bool))
        reached = alpha.gather(1, pairs).sum(1) * relief.gather(1, pairs).sum(1)
        assert bool(found.all())
        assert torch.allclose(reached.double(), best, rtol=1e-5)


@pytest.mark.parametrize("scale", [1e-25, 1e25])
def test_tiny_and_huge_slopes_find_the_same_pair(scale):
    alpha, relief = torch.randn(2, 4, 50, generator=torch.Generator().manual_seed(1))
    allowed = torch.ones_like(alpha, dtype=torch.bool)
    assert torch.equal(best_pairs(alpha * scale, relief * scale, allowed)[0], best_pairs(alpha, relief, allowed)[0])


def test_on_a_linear_model_it_takes_the_heaviest_values_two_at_a_time():
    weight = torch.tensor([0.2, 1.0, 0.5, 0.9, 0.1, 0.6])
    linear = nn.Linear(6, 2)
    with torch.no_grad():
        linear.weight.copy_(torch.stack([-weight, weight]))
        linear.bias.copy_(torch.tensor([2.2, -2.2]))
    model = Classifier(nn.Sequential(nn.Flatten(), linear), num_classes=2, input_shape=(1, 2, 3))
    x, y = torch.zeros(1, 1, 2, 3), torch.zeros(1, dtype=torch.int64)
    # 1.0 + 0.9 is too little to make up for 2.2; with 0.6 + 0.5 it is enough.
    made = JSMA.configured(gamma=1.0).build(model).perturb(x, y)
    assert made.flatten().tolist() == [0, 1, 1, 1, 0, 1]
    stopped = JSMA.configured(gamma=0.5).build(model).perturb(x, y)
    assert stopped.flatten().tolist() == [0, 1, 0, 1, 0, 0]


@settings(max_examples=25)
@given(
    theta=st.floats(-1, 1).filter(lambda t: abs(t) > 0.02),
    gamma=st.floats(0.01, 0.4),
    targeted=st.booleans(),
    seed=st.integers(0, 2**31),
    order=st.permutations(range(5)),
)
def test_few_values_move_one_way_inside_the_box_in_any_batch(toy, theta, gamma, targeted, seed, order):
    generator, index = torch.Generator().manual_seed(seed), torch.tensor(order)
    x = torch.rand(5, 1, 8, 8, generator=generator)
    x = torch.where(torch.rand(x.shape, generator=generator) < 0.3, x.round(), x)
    y = torch.randint(0, 4, (5,), generator=generator)
    attack = JSMA.configured(theta=theta, gamma=gamma, target="most_likely" if targeted else None)
    made = attack.build(toy).perturb(x, y)
    moved = (made - x) * (1 if theta > 0 else -1)
    assert float(moved.min()) >= 0
    assert float(made.min()) >= 0
    assert float(made.max()) <= 1
    assert int((moved != 0).flatten(1).sum(1).max()) <= gamma * 64
    assert torch.allclose(attack.build(toy, batch_size=2).perturb(x[index], y[index]), made[index], atol=1e-6)
    done = toy.predict(x) == y if targeted else toy.predict(x) != y
    assert torch.equal(made[done], x[done])


@pytest.mark.parametrize("params", [{"theta": 0.0}, {"theta": 1.5}, {"gamma": 0.0}, {"gamma": 1.1}])
def test_impossible_settings_are_refused(params, toy):
    with pytest.raises(AttackError, match=r"theta in \[-1, 1\]"):
        JSMA.configured(**params).build(toy)
