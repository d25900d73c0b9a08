"""Fast loops against slow, obvious ones, and the number of passes that they may take."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from pytest_robust.attacks.catalogue import BIM, CW_L2, DEEPFOOL, FGSM, PGD
from pytest_robust.models.classifier import Classifier


def slow_deepfool(model: Classifier, image: Tensor, label: int, max_iter: int, overshoot: float) -> Tensor:
    """Algorithm 2 of Moosavi-Dezfooli et al. for one image, as their code has it, and kept in the box.

    Their code: ``r_i = (pert + 1e-4) * w / np.linalg.norm(w)``, where pert is the distance |f| / ‖w‖.
    """
    total, point = torch.zeros_like(image), image
    for _ in range(max_iter):
        if int(model(point[None]).argmax()) != label:
            break
        jacobian = torch.autograd.functional.jacobian(lambda p: model(p[None])[0], point)
        logits = model(point[None])[0].detach()
        steps = []
        for k in range(len(logits)):
            if k != label:
                w, f = jacobian[k] - jacobian[label], abs(float(logits[k] - logits[label]))
                distance = f / float(w.norm())
                steps.append((distance, (distance + 1e-4) * w / float(w.norm())))
        total = (image + total + min(steps, key=lambda s: s[0])[1]).clamp(0, 1) - image
        point = (image + (1 + overshoot) * total).clamp(0, 1)
    return point


def slow_cw(
    model: Classifier, image: Tensor, label: int, steps: int, searches: int, rate: float, const: float
) -> float:
    """Distance that C&W finds for one image with torch's own Adam and no early end."""
    best, lower, upper = float("inf"), 0.0, 1e10
    origin = ((image * 2 - 1) * (1 - 1e-6)).atanh()
    for _ in range(searches):
        shift = torch.zeros_like(image, requires_grad=True)
        adam = torch.optim.Adam([shift], lr=rate)
        won = False
        for _ in range(steps):
            point = (torch.tanh(origin + shift) + 1) / 2
            logits = model(point[None])[0]
            others = torch.cat([logits[:label], logits[label + 1 :]])
            hinge = (logits[label] - others.max() + 1e-4).clamp_min(0)
            distance = (point - image).square().sum()
            if float(hinge.detach()) == 0:
                won, best = True, min(best, float(distance.detach()))
            adam.zero_grad()
            (distance + const * hinge).backward()
            adam.step()
        lower, upper = (lower, min(upper, const)) if won else (max(lower, const), upper)
        const = (lower + upper) / 2 if upper < 1e10 else const * 10
    return best**0.5


def test_deepfool_equals_the_slow_one(toy, toy_images):
    x, y = toy_images.x[:8], toy_images.y[:8]
    made = DEEPFOOL.configured(max_iter=20).build(toy).perturb(x, y)
    for i in range(len(x)):
        expected = slow_deepfool(toy, x[i], int(y[i]), 20, 0.02)
        assert torch.allclose(made[i], expected, atol=1e-4)


def test_cw_is_as_near_as_the_slow_one_that_never_ends_early(toy, toy_images):
    x, y = toy_images.x[:4], toy_images.y[:4]
    made = CW_L2.configured(max_iter=60, binary_search_steps=4).build(toy).perturb(x, y)
    found = (made - x).flatten(1).norm(dim=1)
    expected = torch.tensor([slow_cw(toy, x[i], int(y[i]), 60, 4, 0.05, 1.0) for i in range(len(x))])
    assert torch.allclose(found, expected, rtol=0.005)


@dataclass
class Passes:
    """Images that went through the model: with a graph for a gradient, and without."""

    graded: int = 0
    plain: int = 0


def counted(model: Classifier, run: Callable[[], object]) -> Passes:
    passes = Passes()

    def note(_: object, args: tuple[Tensor], __: Tensor) -> None:
        if torch.is_grad_enabled():
            passes.graded += len(args[0])
        else:
            passes.plain += len(args[0])

    handle = model.register_forward_hook(note)
    try:
        run()
    finally:
        handle.remove()
    return passes


@pytest.mark.parametrize(
    ("attack", "graded", "plain"),
    [
        (FGSM, 1, 0),
        (BIM.configured(max_iter=7), 7, 0),
        (PGD.configured(max_iter=7), 7, 1),
    ],
    ids=["fgsm", "bim", "pgd"],
)
def test_fixed_attacks_take_no_pass_that_they_do_not_need(attack, graded, plain, toy, toy_images):
    built = attack.build(toy)
    passes = counted(toy, lambda: built.perturb(toy_images.x, toy_images.y))
    n = len(toy_images)
    assert (passes.graded, passes.plain) == (graded * n, plain * n)


def test_restarts_attack_only_what_is_still_robust(toy, toy_images):
    attack = PGD.configured(eps=0.5, eps_step=0.1, max_iter=10, num_random_init=5).build(toy)
    passes = counted(toy, lambda: attack.perturb(toy_images.x, toy_images.y))
    assert passes.graded == 10 * len(toy_images)  # the first start breaks them all


def test_finished_images_leave_deepfool_and_cw(toy, toy_images):
    n = len(toy_images)
    deepfool, cw = DEEPFOOL.build(toy), CW_L2.configured(max_iter=400, binary_search_steps=2).build(toy)
    passes = counted(toy, lambda: deepfool.perturb(toy_images.x, toy_images.y))
    assert passes.graded < 8 * n  # of 50 at most
    assert passes.plain == 0
    passes = counted(toy, lambda: cw.perturb(toy_images.x, toy_images.y))
    assert passes.graded < 0.8 * 800 * n
    assert passes.plain == 0


@pytest.mark.parametrize("attack", [DEEPFOOL, PGD], ids=lambda a: a.name)
def test_no_gradient_of_a_weight_is_ever_computed(attack, toy, toy_images):
    seen = []
    handles = [p.register_hook(lambda g: seen.append(g)) for p in toy.parameters()]
    attack.build(toy).perturb(toy_images.x, toy_images.y)
    for handle in handles:
        handle.remove()
    assert not seen
    assert all(p.requires_grad for p in toy.parameters())
