"""Our attacks against ART's of the same name, on a small trained network at the same budget."""

from __future__ import annotations

import pytest
import torch

from pytest_robust.attacks.adapter import art_attack
from pytest_robust.attacks.attack import Attack
from pytest_robust.attacks.catalogue import APGD, BIM, CW_L2, DEEPFOOL, FGSM, PGD
from pytest_robust.attacks.crafting import craft

EPS = 0.06  # about half of the toy's images fall to it


def success(attack: Attack, toy, images, seed: int = 0) -> float:
    return float(craft(attack, toy, images, seed=seed).success.float().mean())


@pytest.mark.parametrize("norm", ["inf", 2])
def test_fgsm_takes_arts_step(norm, toy, toy_images):
    ours = FGSM.configured(norm=norm, eps=EPS).build(toy).perturb(toy_images.x, toy_images.y)
    arts = art_attack("FastGradientMethod").configured(norm=norm, eps=EPS).build(toy)
    theirs = arts.perturb(toy_images.x, toy_images.y)
    # Where a gradient is as good as zero its sign is noise.
    assert float(((ours - theirs).abs() < 1e-5).float().mean()) > 0.999


def test_bim_follows_arts_path(toy, toy_images):
    steps = {"eps": EPS, "eps_step": 0.01, "max_iter": 10}
    ours = BIM.configured(**steps).build(toy).perturb(toy_images.x, toy_images.y)
    theirs = art_attack("BasicIterativeMethod").configured(**steps).build(toy).perturb(toy_images.x, toy_images.y)
    assert float(((ours - theirs).abs() < 1e-5).float().mean()) > 0.99


@pytest.mark.parametrize("eps", [0.055, 0.06, 0.065])
def test_from_the_same_start_pgd_wins_no_fewer_images(eps, toy, toy_images):
    """Both walk the same path; ART's returns its end, ours the best point on it."""
    steps = {"eps": eps, "eps_step": eps / 5, "max_iter": 20, "num_random_init": 0}
    ours = success(PGD.configured(**steps), toy, toy_images)
    theirs = success(art_attack("ProjectedGradientDescent").configured(**steps), toy, toy_images)
    assert ours >= theirs
    assert theirs > 0 or eps < 0.06


@pytest.mark.parametrize("norm", ["inf", 2])
def test_from_random_starts_pgd_wins_as_many_images(norm, toy, toy_images):
    """Each draws its own starts, so single seeds differ; over six, a true tie fails this once in 700 machines."""
    eps = EPS if norm == "inf" else EPS * 8
    steps = {"norm": norm, "eps": eps, "eps_step": eps / 5, "max_iter": 20, "num_random_init": 1}
    art = art_attack("ProjectedGradientDescent")
    ours = [success(PGD.configured(**steps), toy, toy_images, seed) for seed in range(6)]
    theirs = [success(art.configured(**steps), toy, toy_images, seed) for seed in range(6)]
    rate = sum(ours + theirs) / 12
    three_sigma = 3 * (2 * rate * (1 - rate) / (6 * len(toy_images))) ** 0.5
    assert 0 < rate < 1
    assert sum(ours) / 6 >= sum(theirs) / 6 - three_sigma


def mean_distance(attack: Attack, toy, images) -> float:
    made = craft(attack, toy, images, seed=0)
    assert bool(made.success.all()), attack.name
    return float(made.norms["l2"].mean())


def test_deepfool_is_as_near(toy, toy_images):
    theirs = mean_distance(art_attack("DeepFool").configured(epsilon=0.02, max_iter=50), toy, toy_images)
    assert mean_distance(DEEPFOOL, toy, toy_images) <= 1.05 * theirs


def test_cw_is_as_near(toy, toy_images):
    images = toy_images.subset(range(8))
    arts = art_attack("CarliniL2Method").configured(max_iter=30, binary_search_steps=6, learning_rate=0.05)
    theirs = mean_distance(arts, toy, images)
    assert mean_distance(CW_L2.configured(max_iter=100, binary_search_steps=5), toy, images) <= 1.05 * theirs


def test_apgd_keeps_the_iterate_with_the_highest_loss(toy, toy_images):
    """ART hands back the random start of an image that it did not break."""
    steps = {"eps": 0.02, "eps_step": 0.01, "max_iter": 15, "nb_random_init": 1}
    wanted = torch.arange(len(toy_images))

    def loss(attack: Attack) -> torch.Tensor:
        made = attack.build(toy, seed=0).perturb(toy_images.x, toy_images.y)
        return torch.nn.functional.cross_entropy(toy.logits_of(made), toy_images.y, reduction="none")[wanted]

    ours = loss(APGD.configured(**steps))
    theirs = loss(art_attack("AutoProjectedGradientDescent").configured(loss_type="cross_entropy", **steps))
    assert bool((ours >= theirs - 1e-5).all())
    assert float(ours.mean()) > float(theirs.mean())
