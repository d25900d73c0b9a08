"""Surfaces made of trained classifiers: their answers and their gradients, by slow obvious references."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from pytest_robust.attacks import catalogue
from pytest_robust.attacks.attack import Attack
from pytest_robust.attacks.crafting import craft
from pytest_robust.attacks.objectives import rejection_counts_as, runner_up
from pytest_robust.data.split import Split
from pytest_robust.errors import AttackError
from pytest_robust.models.classifier import Classifier
from pytest_robust.registry import Registry
from pytest_robust.threats.surfaces import (
    DetectorAware,
    MeanLoss,
    MeanProbability,
    ScaledMargins,
    straight_through,
    surface_of,
)

SHAPE = (1, 2, 2)
CLASSES = 3


def linear(seed: int, scale: float = 1.0, outputs: int = CLASSES) -> Classifier:
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, outputs))
    with torch.no_grad():
        network[1].weight.mul_(scale)
    return Classifier(network, num_classes=outputs, input_shape=SHAPE).requires_grad_(False)


def images(n: int = 6, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(n, *SHAPE, generator=generator), torch.randint(0, CLASSES, (n,), generator=generator)


def test_mean_probability_is_the_mean_of_the_members_probabilities() -> None:
    members = [linear(seed) for seed in range(3)]
    surface = surface_of(MeanProbability(members), members[0], "ensemble")
    x, _ = images()
    expected = sum(member(x).softmax(1) for member in members) / 3
    torch.testing.assert_close(surface(x).softmax(1), expected)
    torch.testing.assert_close(surface(x).exp().sum(1), torch.ones(len(x)))


def direction_of_mean_cross_entropy(members: list[Classifier], x: Tensor, y: Tensor) -> Tensor:
    """In float64, where no confident answer rounds to one."""
    at = x.double().requires_grad_()
    total = torch.zeros((), dtype=torch.float64)
    for member in members:
        flat, layer = at.flatten(1), member.network[1]  # type: ignore[index]
        logits = flat @ layer.weight.double().T + layer.bias.double()
        total = total + F.cross_entropy(logits, y, reduction="sum") / len(members)
    (gradient,) = torch.autograd.grad(total, at)
    return F.normalize(gradient.flatten(1), dim=1)


@pytest.mark.parametrize("scale", [1.0, 5.0, 60.0])
def test_mean_loss_has_the_direction_of_the_mean_of_the_losses(scale: float) -> None:
    members = [linear(seed, scale * (1 + seed)) for seed in range(3)]
    x, y = images()
    at = x.clone().requires_grad_()
    _, values = MeanLoss(members).attack_loss(at, y, False)
    (gradient,) = torch.autograd.grad(values.sum(), at)
    torch.testing.assert_close(
        F.normalize(gradient.flatten(1), dim=1).double(),
        direction_of_mean_cross_entropy(members, x, y),
        rtol=1e-3,
        atol=1e-3,
    )
    expected = sum(F.cross_entropy(member(x), y, reduction="none") for member in members) / 3
    torch.testing.assert_close(values.detach(), expected)


def test_mean_loss_has_a_gradient_where_every_member_is_sure() -> None:
    members = [linear(seed, 1e4) for seed in range(2)]
    x, _ = images()
    y = members[0](x).argmax(1)
    agreed = members[1](x).argmax(1) == y
    at = x[agreed].clone().requires_grad_()
    (gradient,) = torch.autograd.grad(MeanLoss(members).attack_loss(at, y[agreed], False)[1].sum(), at)
    assert agreed.any()
    assert bool((gradient.flatten(1) != 0).any(1).all())


def test_scaled_margins_are_each_members_log_odds_by_the_spread_of_its_logits() -> None:
    members = [linear(seed, 1 + 4 * seed) for seed in range(3)]
    x, y = images()
    for targeted in (False, True):
        logits, values = ScaledMargins(members).attack_loss(x, y, targeted)
        torch.testing.assert_close(logits, MeanProbability(members)(x))
        for row in range(len(x)):
            each = []
            for member in members:
                z = member(x[row : row + 1])[0].double()
                others = torch.stack([z[k] for k in range(CLASSES) if k != y[row]])
                each.append((others.exp().sum().log() - z[y[row]]) / z.std())
            torch.testing.assert_close(values[row].double(), sum(each) / 3, rtol=1e-4, atol=1e-4)


def test_no_member_outweighs_the_others_by_the_scale_of_its_logits() -> None:
    """The gradient of the mean probability is that of the surest member alone; here its scale does not count."""
    x, y = images()

    def direction(surface: type[MeanProbability], scale: float) -> Tensor:
        members = [linear(1, 60.0), linear(2, 60.0 * scale)]
        at = x.clone().requires_grad_()
        own = getattr(surface(members), "attack_loss", None)
        values = runner_up(surface(members)(at), y) if own is None else own(at, y, False)[1]
        (gradient,) = torch.autograd.grad(values.sum(), at)
        return F.normalize(gradient.flatten(1), dim=1)

    torch.testing.assert_close(direction(ScaledMargins, 1.0), direction(ScaledMargins, 50.0), rtol=0.05, atol=0.05)
    assert float((direction(MeanProbability, 1.0) - direction(MeanProbability, 50.0)).abs().max()) > 0.5


def test_scaled_margins_of_logits_that_are_all_alike_are_finite() -> None:
    flat = linear(0, 0.0)
    with torch.no_grad():
        flat.network[1].bias.zero_()  # type: ignore[index]
    x, y = images()
    at = x.clone().requires_grad_()
    _, values = ScaledMargins([flat, linear(1)]).attack_loss(at, y, False)
    (gradient,) = torch.autograd.grad(values.sum(), at)
    assert bool(values.isfinite().all())
    assert bool(gradient.isfinite().all())


class Above(nn.Module):
    """Suspicious of bright images: above zero where the mean is above a limit."""

    def __init__(self, limit: float) -> None:
        super().__init__()
        self.limit = limit

    def forward(self, x: Tensor) -> Tensor:
        return 10 * (x.flatten(1).mean(1) - self.limit)


def test_a_detector_is_the_answer_exactly_where_it_rejects() -> None:
    classifier, suspicion = linear(0), Above(0.5)
    surface = surface_of(DetectorAware(classifier, suspicion), classifier, "detector", outputs=CLASSES + 1)
    x, _ = images(50)
    answer = surface(x).argmax(1)
    rejected = suspicion(x) > 0
    assert 0 < int(rejected.sum()) < len(x)
    assert torch.equal(answer == CLASSES, rejected)
    assert torch.equal(answer[~rejected], classifier(x).argmax(1)[~rejected])
    assert surface.rejects


@given(st.integers(0, 2**16))
def test_a_rejection_counts_as_the_label(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits, y = torch.randn(8, 5, generator=generator), torch.randint(0, 4, (8,), generator=generator)
    understood = rejection_counts_as(logits, y)
    for before, after, label in zip(logits.tolist(), understood.tolist(), y.tolist(), strict=True):
        expected = [max(value, before[4]) if k == label else value for k, value in enumerate(before[:4])]
        assert after == expected
    fooled = (logits.argmax(1) != y) & (logits.argmax(1) != 4)
    assert torch.equal(understood.argmax(1) != y, fooled)


def test_who_knows_of_the_rejection_fools_what_who_does_not_only_gets_rejected() -> None:
    """Two classes and a dustbin on a line: the dustbin lies between them and is the first thing across the border."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(1, 3))
    with torch.no_grad():
        network[1].weight.copy_(torch.tensor([[-10.0], [10.0], [0.0]]))
        network[1].bias.copy_(torch.tensor([5.0, -5.0, 2.0]))  # class 0 below 0.3, dustbin, class 1 above 0.7
    naive = Classifier(network, num_classes=3, input_shape=(1, 1, 1)).requires_grad_(False)
    split = Split(torch.full((4, 1, 1, 1), 0.2), torch.zeros(4, dtype=torch.int64), 2)
    deepfool = Registry("attack", {"deepfool": "pytest_robust.attacks.catalogue:DEEPFOOL"}).get("deepfool")
    assert isinstance(deepfool, Attack)
    unaware, aware = (craft(deepfool, surface, split, seed=0) for surface in (naive, naive.rejecting()))
    assert not bool(unaware.success.any())
    assert bool(aware.success.all())
    assert bool((naive.predict(aware.x) == 1).all())


def test_arts_attacks_are_refused_where_they_would_look_weak() -> None:
    members = [linear(seed) for seed in range(2)]
    square = Attack("hopskipjump", "art.attacks.evasion.hop_skip_jump:HopSkipJump", {"max_iter": 1}, gradient_calls=0)
    with pytest.raises(AttackError, match="knows neither rejection"):
        square.build(linear(0, outputs=CLASSES + 1).rejecting())
    gradient = Attack("apgd", "pytest_robust.attacks.apgd:BestAPGD", {"eps": 0.1, "norm": "inf"})
    with pytest.raises(AttackError, match="loss of the surface's own"):
        gradient.build(surface_of(MeanLoss(members), members[0], "grad 2"))


@pytest.mark.parametrize("name", ["ASCENT", "CW_L2", "DEEPFOOL", "HOT_COLD", "JSMA"])
def test_attacks_with_an_objective_of_their_own_are_refused_where_the_surface_has_a_loss(name: str) -> None:
    attack, members = getattr(catalogue, name), [linear(seed) for seed in range(2)]
    attack.build(surface_of(MeanProbability(members), members[0], "mean"))
    with pytest.raises(AttackError, match="'grad 2' gives its attackers"):
        attack.build(surface_of(MeanLoss(members), members[0], "grad 2"))


def test_a_search_of_the_smallest_strength_does_not_hide_an_objective_of_its_own() -> None:
    members = [linear(seed) for seed in range(2)]
    params = {"attack": "pytest_robust.attacks.ascent:GradientAscent", "parameter": "eps_step", "settings": None}
    search = catalogue.SMALLEST_BUDGET.configured(**params, rule=None)
    with pytest.raises(AttackError, match="'grad 2' gives its attackers"):
        search.build(surface_of(MeanLoss(members), members[0], "grad 2"))


@pytest.mark.parametrize("name", ["FGSM", "BIM", "PGD", "BIM_SMALLEST", "FGS", "FGV"])
def test_attacks_that_climb_the_loss_climb_the_surfaces_own(name: str) -> None:
    members = [linear(seed) for seed in range(2)]
    surface, (x, y) = surface_of(MeanLoss(members), members[0], "grad 2"), images()
    asked = []

    def watched(at: Tensor, labels: Tensor, targeted: bool) -> tuple[Tensor, Tensor]:
        asked.append(targeted)
        return MeanLoss.attack_loss(surface.network, at, labels, targeted)

    surface.network.attack_loss = watched
    getattr(catalogue, name).build(surface).perturb(x, y)
    assert asked
    assert not any(asked)


def test_views_of_one_network_have_fingerprints_of_their_own() -> None:
    members = [linear(seed, outputs=CLASSES + 1) for seed in range(2)]
    surfaces = [
        members[0],
        members[0].rejecting(),
        surface_of(MeanProbability(members), members[0], "mean"),
        surface_of(MeanLoss(members), members[0], "loss"),
        surface_of(MeanLoss(members[:1]), members[0], "loss"),
    ]
    assert len({surface.fingerprint for surface in surfaces}) == len(surfaces)


def test_straight_through_rounds_forward_and_is_the_identity_backward() -> None:
    x = torch.rand(3, *SHAPE, generator=torch.Generator().manual_seed(0)).requires_grad_()
    out = straight_through(lambda image: (image * 4).round() / 4, x)
    torch.testing.assert_close(out.detach(), (x.detach() * 4).round() / 4)
    (gradient,) = torch.autograd.grad((out * math.pi).sum(), x)
    torch.testing.assert_close(gradient, torch.full_like(gradient, math.pi))
