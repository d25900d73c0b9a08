"""Large logits flatten the cross-entropy in float32: nobody is fooled by that, or everybody is told."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from pytest_robust.attacks.adapter import art_attack
from pytest_robust.attacks.attack import Attack
from pytest_robust.attacks.catalogue import APGD, AUTOATTACK, PGD
from pytest_robust.attacks.checks import GRADIENT_SAMPLE, zero_gradient_share
from pytest_robust.attacks.crafting import craft
from pytest_robust.bench.evaluating import checks
from pytest_robust.data.split import Split
from pytest_robust.models.classifier import Classifier

WEAK = {"eps": 0.08, "eps_step": 0.08, "max_iter": 15}


class Scaled(nn.Module):
    """The same answers with logits that many times as large."""

    def __init__(self, inner: Classifier, factor: float) -> None:
        super().__init__()
        self.inner, self.factor = inner, factor

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * self.inner(x)  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def scaled(toy: Classifier) -> Classifier:
    return Classifier(Scaled(toy, 1e4), num_classes=4, input_shape=(1, 8, 8), name="scaled")


@pytest.mark.parametrize("target", [None, "most_likely"])
@pytest.mark.parametrize("norm", ["inf", 2])
def test_apgd_fools_as_many_images_however_large_the_logits(toy, scaled, toy_images, target, norm):
    strength = 8 if norm == 2 else 1
    settings = {"max_iter": 15, "norm": norm, "target": target}
    apgd = APGD.configured(eps=0.08 * strength, eps_step=0.08 * strength, **settings)
    plain, large = (craft(apgd, surface, toy_images, seed=0) for surface in (toy, scaled))
    assert float(plain.success.float().mean()) > 0.2
    assert float(large.success.float().mean()) >= float(plain.success.float().mean()) - 0.05
    assert checks(large) == ()


def test_a_loss_that_is_named_is_climbed_and_its_dead_gradient_told(scaled, toy_images):
    """ART's cross-entropy fools hardly anybody, which must not look like robustness."""
    named = APGD.configured(loss_type="cross_entropy", **WEAK)
    made, ours = (craft(attack, scaled, toy_images, seed=0) for attack in (named, APGD.configured(**WEAK)))
    assert int(made.success.sum()) < int(ours.success.sum())
    assert made.provenance["zero_gradient"] > 0.5
    assert "gradient is exactly zero" in checks(made)[0]
    ratio = APGD.configured(loss_type="difference_logits_ratio", **WEAK)
    assert craft(ratio, scaled, toy_images, seed=0).provenance["zero_gradient"] == 0.0


COARSE = {"eps": 0.08, "eps_step": 0.08}
DIFFERENTIATES_THE_LOSS = [
    art_attack("ProjectedGradientDescent").configured(max_iter=2, **COARSE),
    art_attack("FastGradientMethod").configured(eps=0.08),
    art_attack("AutoProjectedGradientDescent").configured(max_iter=2, nb_random_init=1, **COARSE),
]


@pytest.mark.parametrize("attack", DIFFERENTIATES_THE_LOSS, ids=lambda attack: attack.name)
def test_arts_attacks_are_judged_by_the_loss_that_they_climb(attack: Attack, toy, scaled, toy_images):
    assert craft(attack, scaled, toy_images, seed=0).provenance["zero_gradient"] > 0.5
    assert craft(attack, toy, toy_images, seed=0).provenance["zero_gradient"] == 0.0


@pytest.mark.parametrize("attack", [AUTOATTACK, art_attack("AutoAttack")], ids=lambda attack: attack.name)
def test_attacks_made_of_others_are_judged_by_all_of_them(attack: Attack, scaled, toy, toy_images):
    assert attack.gradient_calls > 0
    shares = [
        zero_gradient_share(surface, toy_images.x, toy_images.y, attack=attack.build(surface, seed=0))
        for surface in (scaled, toy)
    ]
    assert shares[0] > 0.5
    assert shares[1] == 0.0


def test_an_attack_that_differentiates_logits_is_not_judged_by_the_cross_entropy(scaled, toy_images):
    made = craft(art_attack("DeepFool").configured(max_iter=3), scaled, toy_images, seed=0)
    assert made.provenance["zero_gradient"] == 0.0


def test_towards_a_class_that_the_answer_is_not_the_cross_entropy_has_a_gradient(scaled, toy_images):
    """A targeted attack descends it from where it is steep."""
    towards = art_attack("ProjectedGradientDescent").configured(max_iter=2, target="most_likely", **COARSE)
    assert craft(towards, scaled, toy_images, seed=0).provenance["zero_gradient"] == 0.0


class MaskedFrom(nn.Module):
    """No gradient for images whose corner is bright."""

    def forward(self, x: Tensor) -> Tensor:
        x = torch.where(x[:, :, :1, :1] > 0.5, x.detach(), x)
        return torch.stack([x.sum((1, 2, 3)), -x.square().sum((1, 2, 3))], 1)


@pytest.mark.parametrize("order", ["sorted", "shuffled"])
def test_masked_images_are_seen_wherever_they_stand(order):
    """A quarter of the images, all behind the first `GRADIENT_SAMPLE` where they are sorted."""
    size = 8 * GRADIENT_SAMPLE
    x = 0.1 + 0.3 * torch.rand(size, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    bright = torch.arange(size) >= size * 3 // 4
    x[bright, :, 0, 0] = 0.9
    if order == "shuffled":
        x = x[torch.randperm(size, generator=torch.Generator().manual_seed(2))]
    surface = Classifier(MaskedFrom(), num_classes=2, input_shape=(1, 4, 4), name="in part")
    split = Split(x, torch.zeros(size, dtype=torch.int64), 2, order)
    share = craft(PGD.configured(max_iter=1), surface, split, seed=0).provenance["zero_gradient"]
    assert 0.15 < share < 0.35


def test_the_sample_is_the_same_whatever_was_drawn_before():
    x = torch.rand(3 * GRADIENT_SAMPLE, 1, 4, 4, generator=torch.Generator().manual_seed(3))
    y = torch.zeros(len(x), dtype=torch.int64)
    surface = Classifier(MaskedFrom(), num_classes=2, input_shape=(1, 4, 4), name="in part")
    torch.manual_seed(1)
    first = zero_gradient_share(surface, x, y)
    state = torch.get_rng_state()
    torch.rand(7)
    assert zero_gradient_share(surface, x, y) == first
    torch.set_rng_state(state)
    zero_gradient_share(surface, x, y)
    assert torch.equal(torch.get_rng_state(), state)  # nor does it draw from the global state
    assert 0.4 < first < 0.6
