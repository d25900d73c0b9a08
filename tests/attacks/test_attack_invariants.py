"""What holds for every image, budget, order and batch."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_robust.attacks.attack import Attack
from pytest_robust.attacks.catalogue import BIM, CW_L2, DEEPFOOL, FGSM, PGD
from pytest_robust.attacks.checks import check_output
from pytest_robust.attacks.geometry import Noise, length, project
from pytest_robust.models.classifier import Classifier

ORDERS = {"inf": float("inf"), 2: 2.0, 1: 1.0}
DETERMINISTIC = [FGSM, BIM.configured(max_iter=4), DEEPFOOL.configured(max_iter=4)]
QUICK_CW = CW_L2.configured(max_iter=12, binary_search_steps=2)


def images(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(count, 1, 8, 8, generator=generator)
    # Black and white pixels are where clipping and the arctangent go wrong.
    x = torch.where(torch.rand(x.shape, generator=generator) < 0.3, x.round(), x)
    return x, torch.randint(0, 4, (count,), generator=generator)


budgets = st.floats(1e-6, 1.0, allow_nan=False)
seeds = st.integers(0, 2**31 - 1)


@settings(max_examples=25)
@given(eps=budgets, norm=st.sampled_from(["inf", 2, 1]), starts=st.integers(0, 3), count=st.integers(0, 5), seed=seeds)
def test_fgsm_stays_in_the_ball_and_in_the_box(toy, eps, norm, starts, count, seed):
    x, y = images(count, seed)
    attack = FGSM.configured(eps=eps, norm=norm, num_random_init=starts)
    check_output(attack, x, attack.build(toy, seed=seed).perturb(x, y))


@settings(max_examples=25)
@given(
    attack=st.sampled_from([PGD, BIM]),
    eps=budgets,
    ratio=st.floats(0.05, 3),
    norm=st.sampled_from(["inf", 2]),
    seed=seeds,
)
def test_iterative_attacks_stay_in_the_ball_and_in_the_box(toy, attack, eps, ratio, norm, seed):
    x, y = images(4, seed)
    configured = attack.configured(eps=eps, eps_step=eps * ratio, norm=norm, max_iter=3)
    check_output(configured, x, configured.build(toy, seed=seed).perturb(x, y))


@settings(max_examples=15)
@given(attack=st.sampled_from([DEEPFOOL.configured(max_iter=5), QUICK_CW]), seed=seeds)
def test_minimal_attacks_stay_in_the_box_and_leave_what_is_misclassified(toy, attack, seed):
    x, _ = images(4, seed)
    answers = toy.predict(x)
    check_output(attack, x, attack.build(toy).perturb(x, answers))
    wrong = (answers + 1) % 4
    made = attack.build(toy).perturb(x, wrong)
    if attack.name == "deepfool":
        assert torch.equal(made, x)
    else:
        assert bool((toy.predict(made) != wrong).all())
        assert float((made - x).abs().max()) < 1e-2


@settings(max_examples=15)
@given(attack=st.sampled_from([*DETERMINISTIC, QUICK_CW]), seed=seeds, order=st.permutations(range(6)))
def test_the_order_of_the_images_does_not_matter(toy, attack, seed, order):
    x, y = images(6, seed)
    built = attack.build(toy)
    index = torch.tensor(order)
    assert torch.allclose(built.perturb(x, y)[index], built.perturb(x[index], y[index]), atol=1e-4)


@pytest.mark.parametrize("norm", ["inf", 2])
@pytest.mark.parametrize("attack", [FGSM, PGD.configured(max_iter=5)], ids=lambda a: a.name)
@pytest.mark.parametrize("batch_size", [1, 3])
def test_neither_the_batch_size_nor_the_batch_changes_an_images_noise(attack, norm, batch_size, two_classes):
    configured = attack.configured(norm=norm, eps=0.05, num_random_init=2)
    x, y, classifier = two_classes.split.x, two_classes.split.y, two_classes.classifier
    whole = configured.build(classifier, seed=7).perturb(x, y)
    parts = configured.build(classifier, seed=7, batch_size=batch_size).perturb(x, y)
    assert torch.allclose(whole, parts, atol=1e-6)
    other_seed = configured.build(classifier, seed=8).perturb(x, y)
    assert not torch.allclose(whole, other_seed, atol=1e-4)


@settings(max_examples=40)
@given(
    order=st.sampled_from(list(ORDERS.values())),
    eps=budgets,
    count=st.integers(1, 9),
    cut=st.integers(1, 9),
    seed=seeds,
)
def test_noise_is_in_the_ball_and_does_not_depend_on_how_it_is_cut(order, eps, count, cut, seed):
    like = torch.zeros(count, 1, 5, 7)
    whole = Noise(seed, 2).draw(like, eps, order)
    pieces = Noise(seed, 2)
    parts = [pieces.draw(part, eps, order) for part in like.split(cut)]
    for restart in range(2):
        assert torch.equal(whole[restart], torch.cat([part[restart] for part in parts]))
        assert bool((length(whole[restart], order) <= eps * (1 + 1e-5)).all())
    assert not torch.equal(whole[0], whole[1])


@settings(max_examples=40)
@given(order=st.sampled_from(list(ORDERS.values())), eps=budgets, scale=st.floats(0, 100), seed=seeds)
def test_projection_ends_in_the_ball_and_changes_nothing_inside(order, eps, scale, seed):
    delta = scale * torch.randn(3, 1, 4, 4, generator=torch.Generator().manual_seed(seed))
    once = project(delta, eps, order)
    assert bool((length(once, order) <= eps * (1 + 1e-5)).all())
    assert torch.allclose(project(once, eps, order), once, rtol=1e-5, atol=0)


def test_a_larger_budget_breaks_no_fewer(toy, toy_images):
    def broken(attack: Attack, eps: float) -> int:
        made = attack.configured(eps=eps).build(toy).perturb(toy_images.x, toy_images.y)
        return int((toy.predict(made) != toy_images.y).sum())

    counts = [broken(PGD.configured(eps_step=0.01, max_iter=20), eps) for eps in (1e-6, 0.02, 0.05, 0.1, 0.3)]
    assert counts == sorted(counts)
    assert counts[0] == 0
    assert counts[-1] == len(toy_images)


def test_bim_returns_its_last_iterate_and_pgd_its_best(two_classes):
    """A model that is fooled at first and not any more when the attack has walked on."""

    class Ring(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            mean = x.mean((1, 2, 3))
            # Class 0 up to 0.52, class 1 up to 0.6, and class 0 again beyond; the slope always says: brighter.
            score = torch.where((mean > 0.52) & (mean < 0.6), 5.0, -5.0)
            return torch.stack([torch.zeros_like(mean), score.detach() + mean - mean.detach()], 1)

    classifier = Classifier(Ring(), num_classes=2, input_shape=(1, 6, 6), name="ring")
    x, y = torch.full((2, 1, 6, 6), 0.5), torch.zeros(2, dtype=torch.int64)
    steps = {"eps": 0.2, "eps_step": 0.05, "max_iter": 4}
    last = BIM.configured(**steps).build(classifier).perturb(x, y)
    best = PGD.configured(num_random_init=0, **steps).build(classifier).perturb(x, y)
    assert torch.allclose(last, torch.full_like(x, 0.7))
    assert classifier.predict(last).tolist() == [0, 0]
    assert classifier.predict(best).tolist() == [1, 1]
