"""The smallest budget that fools: against a slow search, a closed form, and what may not change it."""

from __future__ import annotations

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pytest_robust.attacks.attack import Attack
from pytest_robust.attacks.catalogue import BIM, BIM_SMALLEST, FGSM, FGSM_SMALLEST, PGD, SMALLEST_BUDGET, SQUARE
from pytest_robust.attacks.crafting import craft
from pytest_robust.attacks.smallest_budget import RULES
from pytest_robust.data.split import Split
from pytest_robust.errors import AttackError
from pytest_robust.models.classifier import Classifier

WITH_SQUARE = SMALLEST_BUDGET.configured(attack="square", settings={"max_iter": 20}, rule=None, steps=8)
FIXED_STEPS = SMALLEST_BUDGET.configured(
    attack="bim", settings={"norm": 2, "eps_step": 0.07, "max_iter": 6}, rule=None, largest=1.0, steps=9
)
WITH_PATH = SMALLEST_BUDGET.configured(
    attack="pytest_robust.attacks.fgsm:FGSM", settings={"norm": 2}, rule=None, largest=3.0, steps=20
)


def slow_search(model: Classifier, smallest: Attack, attack: Attack, x: Tensor, y: Tensor, goal: Tensor) -> Tensor:
    """One image: the attack from scratch at every strength, until it fools."""
    largest, steps = smallest.params["largest"], smallest.params["steps"]

    def fools(image: Tensor) -> bool:
        answer = int(model.predict(image))
        return answer == int(goal) if attack.targeted else answer != int(y)

    if fools(x):
        return x
    for eps in [largest * k / steps for k in range(1, steps + 1)]:
        rule: dict[str, float] = {}
        if smallest.params["rule"] == "kurakin":
            levels = eps * 255
            rule = {"eps_step": 1 / 255, "max_iter": int(-(-min(levels + 4, 1.25 * levels) // 1))}
        if smallest.params["rule"] == "madry":
            rule = {"eps_step": 2.5 * eps / 40}
        made = attack.configured(eps=eps, **rule).build(model).perturb(x, goal)
        if fools(made):
            return made
    return x


@pytest.mark.parametrize("target", [None, "least_likely"])
@pytest.mark.parametrize(
    ("smallest", "attack"),
    [
        (FGSM_SMALLEST, FGSM),
        (BIM_SMALLEST.configured(largest=16 / 255, steps=16), BIM),
        (SMALLEST_BUDGET.configured(largest=0.08, steps=4), PGD.configured(num_random_init=0)),
        (FIXED_STEPS, BIM.configured(norm=2, eps_step=0.07, max_iter=6)),
        (WITH_PATH, FGSM.configured(norm=2)),
    ],
    ids=["fgsm", "bim", "pgd", "bim with fixed steps", "module:Class"],
)
def test_it_equals_the_slow_search(smallest, attack, target, toy, toy_images):
    x, y = toy_images.x[:5], toy_images.y[:5]
    goals = (y + 2) % 4 if target else y
    smallest, attack = smallest.configured(target=target), attack.configured(target=target)
    made = smallest.build(toy).perturb(x, goals)
    for i in range(len(x)):
        expected = slow_search(toy, smallest, attack, x[i : i + 1], y[i], goals[i : i + 1])
        assert torch.allclose(made[i], expected[0], atol=1e-6), i


@pytest.mark.parametrize(("norm", "largest"), [("inf", 0.5), (2, 3.0)])
def test_on_a_linear_model_it_is_the_first_strength_beyond_the_distance(norm, largest, two_classes):
    attack = FGSM_SMALLEST.configured(settings={"norm": norm}, largest=largest, steps=100)
    made = craft(attack, two_classes.classifier, two_classes.split, seed=0)
    assert bool(made.success.all())
    excess = made.norms["linf" if norm == "inf" else "l2"] - two_classes.distances(float(norm))
    assert float(excess.min()) > -1e-5
    assert float(excess.max()) < largest / 100 + 1e-5


def test_what_is_wrong_already_and_what_cannot_be_fooled_comes_back_clean(toy, toy_images):
    labels = torch.where(torch.arange(40) < 10, (toy_images.y + 1) % 4, toy_images.y)
    made = craft(FGSM_SMALLEST.configured(largest=0.066, steps=3), toy, Split(toy_images.x, labels, 4), seed=0)
    clean = (made.x == toy_images.x).flatten(1).all(1)
    assert bool(clean[:10].all())
    assert bool(made.success[:10].all())
    assert torch.equal(clean[10:], ~made.success[10:])
    assert 0 < int(made.success[10:].sum()) < 30


@settings(max_examples=12)
@given(
    attack=st.sampled_from([FGSM_SMALLEST, BIM_SMALLEST.configured(steps=10), WITH_SQUARE]),
    batch=st.integers(1, 6),
    seed=st.integers(0, 2**31),
)
def test_neither_the_batch_size_nor_who_has_finished_changes_an_image(toy, attack, batch, seed):
    x = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(seed))
    y = toy.predict(x)
    made = attack.build(toy, seed=seed).perturb(x, y)
    assert float(made.min()) >= 0
    assert float(made.max()) <= 1
    assert torch.allclose(attack.build(toy, seed=seed, batch_size=batch).perturb(x, y), made, atol=1e-5)
    # The first three are finished at once: their labels are wrong.
    others = torch.cat([(y[:3] + 1) % 4, y[3:]])
    again = attack.build(toy, seed=seed).perturb(x, others)
    assert torch.allclose(again[3:], made[3:], atol=1e-5)
    assert torch.equal(again[:3], x[:3])


def test_fgsm_asks_for_one_gradient_and_finished_images_leave(toy, toy_images):
    graded, plain = [], []
    handle = toy.register_forward_hook(
        lambda _, args, __: (graded if torch.is_grad_enabled() else plain).append(len(args[0]))
    )
    try:
        made = FGSM_SMALLEST.build(toy).perturb(toy_images.x, toy_images.y)
    finally:
        handle.remove()
    tried = (made - toy_images.x).abs().flatten(1).amax(1).mul(255).round()
    assert sum(graded) == len(toy_images)
    assert sum(plain) == len(toy_images) + int(tried.sum())


def test_bim_takes_the_steps_that_no_ball_stops_once(toy, toy_images):
    x, graded = toy_images.x[:1], []
    handle = toy.register_forward_hook(lambda *_: graded.append(torch.is_grad_enabled()))
    try:
        made = BIM_SMALLEST.build(toy).perturb(x, toy_images.y[:1])
    finally:
        handle.remove()
    levels = round(float((made - x).abs().max()) * 255)
    assert levels > 8
    after = sum(RULES["kurakin"](k / 255, {})["max_iter"] - k for k in range(1, levels + 1))
    assert sum(graded) == levels + after


@pytest.mark.parametrize(("levels", "steps"), [(1, 2), (2, 3), (4, 5), (8, 10), (16, 20), (32, 36), (76.5, 81)])
def test_kurakins_rule_is_the_papers(levels, steps):
    assert RULES["kurakin"](levels / 255, {}) == {"eps_step": 1 / 255, "max_iter": steps}


def test_it_has_no_budget_and_its_provenance_is_plain(toy, toy_images):
    made = craft(BIM_SMALLEST, toy, toy_images.subset(range(3)), seed=0)
    assert BIM_SMALLEST.eps is None
    assert made.provenance["budget"] is None
    assert "attack=bim" in made.provenance["title"]
    assert json.loads(json.dumps(made.provenance)) == made.provenance


@pytest.mark.parametrize(
    ("attack", "complaint"),
    [
        (SMALLEST_BUDGET.configured(attack="pdg"), "no attack 'pdg'.*pgd"),
        (SMALLEST_BUDGET.configured(attack="torch.nn:Linear"), "not a TorchAttack"),
        (SMALLEST_BUDGET.configured(parameter="epsilon"), "no parameter 'epsilon'.*eps"),
        (SMALLEST_BUDGET.configured(settings={"steps": 3}, rule=None), "no parameter 'steps'"),
        (SMALLEST_BUDGET.configured(settings={}), "num_random_init=0"),
        (SMALLEST_BUDGET.configured(rule="ours"), "no rule 'ours'.*kurakin"),
        (SMALLEST_BUDGET.configured(largest=0.0), "largest"),
        (SMALLEST_BUDGET.configured(steps=0), "steps"),
        (SMALLEST_BUDGET.configured(settings={"max_iter": 0, "num_random_init": 0}, rule=None), "max_iter"),
        (
            SMALLEST_BUDGET.configured(
                attack="pytest_robust.attacks.deepfool:DeepFool",
                parameter="epsilon",
                settings={},
                rule=None,
                target="least_likely",
            ),
            "cannot be targeted",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_searched_is_refused(attack, complaint, toy):
    with pytest.raises(AttackError, match=complaint):
        attack.build(toy)


def test_a_nan_gradient_of_the_other_attack_is_reported():
    class RootOfZero(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            mean = x.mean((1, 2, 3))
            return torch.stack([mean + 1, mean * 0 + (x * 0).square().sum((1, 2, 3)).sqrt()], 1)

    model = Classifier(RootOfZero(), num_classes=2, input_shape=(1, 4, 4))
    for attack in (FGSM_SMALLEST, BIM_SMALLEST.configured(steps=2)):
        with pytest.raises(AttackError, match="NaN"):
            attack.build(model).perturb(torch.rand(2, 1, 4, 4), torch.zeros(2, dtype=torch.int64))


def test_square_can_be_searched(toy, toy_images):
    made = craft(WITH_SQUARE, toy, toy_images.subset(range(10)), seed=0)
    assert bool(made.success.all())
    assert SQUARE.params["eps"] < float(made.norms["linf"].max()) <= 0.3
