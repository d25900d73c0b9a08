"""Attacks on linear models, where the smallest perturbation has a closed form."""

from __future__ import annotations

import pytest
import torch
from linear_case import LinearCase
from torch import Tensor

from pytest_robust.attacks.attack import Attack
from pytest_robust.attacks.catalogue import BIM, CW_L2, DEEPFOOL, FGSM, PGD
from pytest_robust.attacks.geometry import steepest_l1


def fooled(case: LinearCase, attack: Attack, index: int, eps: float) -> bool:
    """Whether `attack` with this budget changes the answer for one image."""
    classifier = case.classifier
    x, y = case.split.x[index : index + 1], case.split.y[index : index + 1]
    steps = {"eps_step": eps / 5} if "eps_step" in attack.params else {}
    made = attack.configured(eps=eps, **steps).build(classifier).perturb(x, y)
    return bool(classifier.predict(made) != y)


@pytest.mark.parametrize("norm", ["inf", 2])
@pytest.mark.parametrize(
    "attack", [FGSM, BIM.configured(max_iter=12), PGD.configured(max_iter=40)], ids=lambda a: a.name
)
def test_succeeds_exactly_when_the_budget_exceeds_the_distance(attack, norm, two_classes):
    configured = attack.configured(norm=norm)
    for index, distance in enumerate(two_classes.distances(float(norm)).tolist()):
        assert not fooled(two_classes, configured, index, distance * 0.99)
        assert fooled(two_classes, configured, index, distance * 1.01)


def test_deepfool_finds_the_nearest_boundary_and_oversteps_it_by_its_epsilon(five_classes):
    attack = DEEPFOOL.configured(epsilon=0.02).build(five_classes.classifier)
    made = attack.perturb(five_classes.split.x, five_classes.split.y)
    found = (made - five_classes.split.x).flatten(1).norm(dim=1)
    exact = five_classes.distances(2.0)
    assert bool((five_classes.classifier.predict(made) != five_classes.split.y).all())
    assert torch.allclose(found, 1.02 * (exact + 1e-4), rtol=1e-4)


def test_cw_comes_within_a_few_percent_of_the_optimum(five_classes):
    attack = CW_L2.configured(learning_rate=0.01, binary_search_steps=8, max_iter=200).build(five_classes.classifier)
    made = attack.perturb(five_classes.split.x, five_classes.split.y)
    found = (made - five_classes.split.x).flatten(1).norm(dim=1)
    exact = five_classes.distances(2.0)
    assert bool((five_classes.classifier.predict(made) != five_classes.split.y).all())
    assert bool((found >= exact * 0.999).all())
    assert float((found / exact).max()) < 1.04


@pytest.mark.parametrize("confidence", [0.0, 2.0])
def test_targeted_cw_reaches_its_target_with_the_margin_it_was_asked_for(confidence, five_classes):
    targets = (five_classes.split.y + 2) % 5
    attack = CW_L2.configured(target="least_likely", confidence=confidence).build(five_classes.classifier)
    made = attack.perturb(five_classes.split.x, targets)
    logits = five_classes.classifier.logits_of(made)
    others = logits.scatter(1, targets[:, None], float("-inf")).amax(1)
    lead = logits.gather(1, targets[:, None])[:, 0] - others
    assert bool((lead > confidence).all())
    assert float(lead.min()) < confidence + 0.5


def test_targeted_fgsm_moves_towards_its_target(five_classes):
    x, targets = five_classes.split.x, (five_classes.split.y + 1) % 5
    before = five_classes.classifier.logits_of(x).log_softmax(1).gather(1, targets[:, None])
    attack = FGSM.configured(eps=0.01, target="least_likely").build(five_classes.classifier)
    after = five_classes.classifier.logits_of(attack.perturb(x, targets)).log_softmax(1).gather(1, targets[:, None])
    assert bool((after > before).all())


def best_l1(x: Tensor, gradient: Tensor, eps: float) -> float:
    """The linear programme max g·d over ‖d‖₁ ≤ ε inside the box, solved pixel by pixel, obviously."""
    room = [
        ((1 - v) if g > 0 else v, abs(g))
        for v, g in zip(x.flatten().tolist(), gradient.flatten().tolist(), strict=True)
    ]
    gain = 0.0
    for space, slope in sorted(room, key=lambda pair: -pair[1]):
        step = min(space, eps)
        gain, eps = gain + step * slope, eps - step
    return gain


@pytest.mark.parametrize("eps", [0.05, 0.7, 5.0, 1000.0])
def test_the_l1_step_gains_as_much_as_any_step_of_its_length_can(eps):
    generator = torch.Generator().manual_seed(1)
    x, gradient = torch.rand(4, 1, 3, 3, generator=generator), torch.randn(4, 1, 3, 3, generator=generator)
    step = steepest_l1(x, gradient, eps)
    for i in range(4):
        assert float((step[i] * gradient[i]).sum()) == pytest.approx(best_l1(x[i], gradient[i], eps), rel=1e-5)
        assert float(step[i].abs().sum()) <= eps * (1 + 1e-6)
    moved = x + step
    assert float(moved.min()) >= -1e-6
    assert float(moved.max()) <= 1 + 1e-6


def test_confident_answers_do_not_hide_the_gradient():
    """Behind logits of thousands the cross-entropy's float32 gradient is zero; the attack must not care."""
    loud = LinearCase(2, loudness=1e4)
    x, y = loud.split.x, loud.split.y
    images = x.clone().requires_grad_()
    cross_entropy = torch.nn.functional.cross_entropy(loud.classifier(images), y)
    assert not bool(torch.autograd.grad(cross_entropy, images)[0].any())
    eps = float(loud.distances(float("inf")).max()) * 1.01
    made = FGSM.configured(eps=eps).build(loud.classifier).perturb(x, y)
    assert bool((loud.classifier.predict(made) != y).all())
