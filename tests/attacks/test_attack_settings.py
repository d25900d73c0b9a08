"""An Attack's settings: what may be configured, what is refused, what it says of itself."""

from __future__ import annotations

import pytest
import torch

from pytest_robust.attacks.attack import Attack
from pytest_robust.attacks.batching import comfortable_batch
from pytest_robust.attacks.catalogue import ASCENT, BIM, CW_L2, DEEPFOOL, FGSM, FGSM_TARGETED, HOPSKIPJUMP, PGD, SQUARE
from pytest_robust.attacks.crafting import craft
from pytest_robust.bench.evaluating import checks
from pytest_robust.catalogue import ATTACKS, Registries
from pytest_robust.errors import AttackError, SettingsError


@pytest.mark.parametrize("name", sorted(ATTACKS))
def test_a_built_in_is_complete_and_named_as_it_is_registered(name):
    attack = Registries().attacks.get(name)
    assert attack.name == name
    assert attack.reference
    assert attack.norm is not None
    accepted = set(attack.art_class().__init__.__code__.co_varnames)
    assert set(attack.params) <= accepted


def test_configuring_changes_what_is_named_and_nothing_else():
    changed = PGD.configured(eps=0.2, target="least_likely")
    assert (changed.eps, changed.targeted) == (0.2, True)
    assert changed.params["max_iter"] == PGD.params["max_iter"]
    assert (PGD.eps, PGD.targeted) == (0.1, False)
    assert PGD.configured(norm=2).norm == "l2"
    assert PGD.configured(norm=float("inf")).norm == "linf"


@pytest.mark.parametrize(
    ("params", "complaint"),
    [
        ({"eps": 0.0}, "eps=0; a budget is positive and finite"),
        ({"eps": float("nan")}, "eps=nan; a budget is positive and finite"),
        ({"eps": -1.0, "norm": 2}, "positive and finite"),
        ({"eps": -0.1}, "eps=-0.1; a budget is positive and finite"),
        ({"eps": 8}, "write 8/255, not 8"),
        ({"epsilon": 0.1}, "takes no parameter 'epsilon'; did you mean 'eps'"),
        ({"norm": 3}, "norm=3"),
        ({"targeted": True}, "least_likely"),
        ({"target": "random"}, "target='random'"),
        ({"max_iter": 0}, "max_iter=0; it is a whole number from 1"),
        ({"num_random_init": -1}, "num_random_init=-1; it is a whole number from 0"),
        ({"batch_size": -3}, "batch_size=-3; it is a whole number from 1"),
        ({"max_iter": 2.0}, "max_iter=2.0; it is a whole number from 1"),
    ],
)
def test_what_cannot_be_right_is_refused(params, complaint):
    with pytest.raises(SettingsError, match=complaint):
        PGD.configured(**params)


@pytest.mark.parametrize(
    "attack",
    [
        PGD.configured(norm=1),
        BIM.configured(eps_step=-0.1),
        DEEPFOOL.configured(nb_grads=1),
        CW_L2.configured(learning_rate=0.0),
        SQUARE.configured(p_init=7.0),
        DEEPFOOL.configured(target="least_likely"),
        Attack("lost", "pytest_robust.attacks.fgsm_that_is_not:FGSM"),
    ],
    ids=lambda a: a.title,
)
def test_what_the_implementation_refuses_is_an_attack_error(attack, toy):
    with pytest.raises(AttackError):
        attack.build(toy)


def test_the_title_says_what_it_does_and_not_how_it_is_run():
    assert FGSM_TARGETED.title == "fgsm_targeted(norm=inf, eps=0.1, num_random_init=0, target=least_likely)"


def test_gradient_calls_follow_the_parameters():
    assert FGSM.total_gradient_calls == 1
    assert PGD.configured(max_iter=30, num_random_init=5).total_gradient_calls == 150
    assert CW_L2.configured(max_iter=100, binary_search_steps=5).total_gradient_calls == 500
    assert HOPSKIPJUMP.total_gradient_calls == 0


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 32, 32), (3, 224, 224), (3, 4000, 4000)])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_batches_are_bounded_in_images_and_in_values(shape, device):
    size = comfortable_batch(shape, torch.device(device))
    assert 1 <= size <= 512
    assert size == 1 or size * torch.Size(shape).numel() <= 2**24


def test_a_limit_on_the_distance_is_a_budget_too():
    assert PGD.budget == PGD.eps
    assert ASCENT.configured(max_l2=2.0).budget == 2.0
    assert ASCENT.configured(max_l2=None).budget is None


def test_a_share_of_the_values_and_a_largest_strength_are_budgets_too():
    attacks = Registries().attacks
    assert attacks.get("jsma").budget == 0.145
    assert attacks.get("jsma").configured(gamma=1.0).budget is None
    for name in ("gaussian_blur", "gaussian_noise", "salt_and_pepper"):
        assert attacks.get(name).configured(largest=0.5).budget == 0.5
    assert attacks.get("deepfool").budget is None


def test_only_an_attack_without_a_limit_has_to_fool_its_surface(toy, toy_images):
    short = {"eps_step": 1e-6, "max_iter": 1, "target": "least_likely"}
    limited, unlimited = (
        checks(craft(ASCENT.configured(max_l2=limit, **short), toy, toy_images, seed=0)) for limit in (2.0, None)
    )
    assert not any("fooled its own surface" in check for check in limited)
    assert any("fooled its own surface" in check for check in unlimited)
