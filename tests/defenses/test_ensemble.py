"""Ensembles: how members are made to differ, how they decide together, what an attacker gains by which gradient."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from pytest_robust.attacks.catalogue import PGD
from pytest_robust.attacks.crafting import craft
from pytest_robust.bench.bench import Bench
from pytest_robust.bench.settings import Settings
from pytest_robust.data.split import Split
from pytest_robust.defenses.adversarial_training import AdversarialTraining
from pytest_robust.defenses.distillation import Distillation
from pytest_robust.defenses.ensemble import Ensemble, bagging
from pytest_robust.errors import SettingsError
from pytest_robust.models.adversarial_mix import AdversarialMix
from pytest_robust.models.classifier import Classifier
from pytest_robust.models.recipe import Recipe
from pytest_robust.models.soft_labels import HotCrossEntropy, SoftLabels
from pytest_robust.testing import check_defense
from pytest_robust.threats.surfaces import MeanProbability, surface_of

METHODS = ("random_init", "mixed", "bagging", "noise")


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    whole = Bench(Settings(cache=tmp_path_factory.mktemp("store"), device="cpu"))
    return whole.with_profile(architecture="small_cnn", train_images=400, epochs=4, test_images=60, learning_rate=0.05)


def of(recipes: list[Recipe], what: str) -> list[object]:
    return [getattr(recipe, what) for recipe in recipes]


def images_of(recipe: Recipe) -> list[bytes]:
    return [row.numpy().tobytes() for split in recipe.data for row in split.x]


@pytest.mark.parametrize("method", METHODS)
def test_members_have_seeds_of_their_own_and_the_first_the_benchs(bench: Bench, method: str) -> None:
    recipes = Ensemble(method).recipes(bench)
    assert len(recipes) == len(set(of(recipes, "seed"))) == 10
    assert (recipes[0].seed == bench.settings.seed) == (method != "mixed")
    again = Ensemble(method).recipes(bench)
    assert [r.settings for r in recipes] == [r.settings for r in again]


def test_mixed_networks_are_none_of_random_init(bench: Bench) -> None:
    seeds = [set(of(Ensemble(method).recipes(bench), "seed")) for method in ("mixed", "random_init")]
    assert not seeds[0] & seeds[1]


def test_the_first_of_random_init_is_the_undefended_network(bench: Bench) -> None:
    assert Ensemble().recipes(bench)[0].settings == bench.undefended_recipe.settings


def test_mixed_members_have_different_networks_and_the_same_images(bench: Bench) -> None:
    recipes = Ensemble("mixed").recipes(bench)
    assert recipes[0].architecture == "small_cnn"
    assert len(set(of(recipes, "architecture"))) == 10
    assert {recipe.data[0].fingerprint for recipe in recipes} == {bench.train_split.fingerprint}
    own = Ensemble("mixed", 3, architectures=("mlp", "small_cnn")).recipes(bench)
    assert of(own, "architecture") == ["mlp", "small_cnn", "mlp"]


def test_bagging_draws_as_many_with_replacement(bench: Bench) -> None:
    original = set(images_of(bench.recipe()))
    recipes = Ensemble("bagging").recipes(bench)
    shares = []
    for recipe in recipes:
        drawn = images_of(recipe)
        assert len(drawn) == len(bench.train_split)
        assert set(drawn) <= original
        shares.append(len(set(drawn)) / len(original))
    # 1 − 1/e; the mean of ten replicates of 400 images has a standard deviation of about 0.005.
    assert sum(shares) / 10 == pytest.approx(0.632, abs=0.02)
    assert len({recipe.data[0].fingerprint for recipe in recipes}) == 10


@given(st.integers(0, 2**31), st.integers(2, 60))
def test_a_bootstrap_keeps_every_image_with_its_label(seed: int, n: int) -> None:
    labels = torch.arange(n) % 7
    split = Split((labels / 10)[:, None, None, None].repeat(1, 1, 2, 2), labels, 7, "toy")
    drawn = bagging(Ensemble(), Recipe("small_cnn", (split,), seed=seed), 0).data[0]
    assert torch.equal((drawn.x[:, 0, 0, 0] * 10).round().long(), drawn.y)


def test_noise_has_its_deviation_and_is_another_for_each_member(bench: Bench) -> None:
    gray = Split(torch.full((200, 1, 8, 8), 0.5), torch.zeros(200, dtype=torch.int64), 2, "gray")
    toy = Ensemble("noise", sigma=0.05)
    from pytest_robust.defenses.ensemble import noise

    first, second = (noise(toy, Recipe("small_cnn", (gray,), seed=seed), 0).data[0] for seed in (0, 1))
    assert float((first.x - 0.5).std()) == pytest.approx(0.05, rel=0.03)
    assert abs(float(torch.corrcoef(torch.stack([first.x.flatten(), second.x.flatten()]))[0, 1])) < 0.05
    assert len({recipe.data[0].fingerprint for recipe in toy.recipes(bench)}) == 10


def test_the_base_trains_each_member_on_its_own_images(bench: Bench) -> None:
    plain = Ensemble("bagging", 2).recipes(bench)
    adversarial = Ensemble("bagging", 2, base=AdversarialTraining(eps=0.1)).recipes(bench)
    assert of(adversarial, "loss") == [AdversarialMix(eps=0.1, eps_step=0.1)] * 2
    assert [r.data[0].fingerprint for r in adversarial] == [r.data[0].fingerprint for r in plain]
    distilled = Ensemble("bagging", 2, base=Distillation(5.0)).recipes(bench)
    assert of(distilled, "loss") == [SoftLabels(5.0)] * 2
    teachers = bench.train_all(Distillation(5.0).teachers(plain))
    for recipe, teacher in zip(distilled, teachers, strict=True):
        assert torch.equal(recipe.companion, teacher.logits_of(recipe.data[0].x))
    assert of(Distillation(5.0).teachers(plain), "loss") == [HotCrossEntropy(5.0)] * 2


def test_titles_say_how_members_are_trained() -> None:
    assert Ensemble().title == "ensemble"
    combined = Ensemble("bagging", base=AdversarialTraining(eps=0.1))
    assert combined.title == "ensemble(method='bagging', base=adversarial_training(eps=0.1))"


def test_it_decides_by_the_mean_of_the_members_probabilities(bench: Bench) -> None:
    defended = bench.defend(Ensemble(members=3))
    x = bench.test_split.x
    members = list(defended.networks.values())
    mean = sum(member.logits_of(x).double().softmax(1) for member in members) / 3
    decision = defended.decide(x)
    assert torch.equal(decision.label, mean.argmax(1))
    assert torch.allclose(decision.score.double(), 1 - mean.amax(1), atol=1e-5)
    assert not decision.rejected.any()
    assert members[0] is defended.surface("grad_1")


def test_grad_2_is_the_mean_of_the_members_gradients(bench: Bench) -> None:
    defended = bench.defend(Ensemble(members=3))
    images, y = bench.test_split.x[:20], bench.test_split.y[:20]
    made = bench.attack(defended.surface("grad_2"), bench.attack_named("fgsm", eps=0.05), bench.test_split)
    gradients = [gradient_in_double(member, images, y) for member in defended.networks.values()]
    slow = (images.double() + 0.05 * (sum(gradients) / 3).sign()).clamp(0, 1)
    assert (
        float((made.x[:20] - slow).abs().gt(1e-6).float().mean()) < 0.005
    )  # gradients that round to zero have no sign


def gradient_in_double(member: Classifier, images: Tensor, y: Tensor) -> Tensor:
    """Of the plain cross-entropy, one member at a time."""
    from copy import deepcopy

    exact, x = deepcopy(member).double(), images.double().requires_grad_()
    return torch.autograd.grad(nn.functional.cross_entropy(exact(x), y, reduction="sum"), x)[0]


def looks_at(pixel: int) -> Classifier:
    """Class 1 where one pixel of three is bright; the others do not matter to it."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(3, 2))
    with torch.no_grad():
        network[1].weight.zero_()[1, pixel] = 20.0
        network[1].bias.copy_(torch.tensor([10.0, 0.0]))
    return Classifier(network, num_classes=2, input_shape=(1, 1, 3), name=f"pixel {pixel}")


def test_the_whole_ensembles_gradient_fools_what_one_members_cannot() -> None:
    members = [looks_at(pixel) for pixel in range(3)]
    whole = surface_of(MeanProbability(members), members[0], "three")
    bright = Split(torch.full((8, 1, 1, 3), 0.7), torch.ones(8, dtype=torch.int64), 2, "bright")
    attack = PGD.configured(eps=0.3, eps_step=0.05, max_iter=20, num_random_init=0)
    of_one = craft(attack, members[0], bright, seed=0)
    assert of_one.success.all()  # the member itself is fooled …
    assert torch.equal(whole.predict(of_one.x), bright.y)  # … and outvoted by the other two
    assert (whole.predict(craft(attack, whole, bright, seed=0).x) != bright.y).all()


@pytest.mark.parametrize(
    ("broken", "match"),
    [
        (Ensemble("boosting"), r"no method 'boosting'.*random_init, mixed, bagging, noise"),
        (Ensemble(members=0), "members >= 1"),
        (Ensemble("noise", sigma=-1.0), "sigma >= 0"),
        (Ensemble(architectures=("mlp",)), r"'random_init' has no use for architectures, .* for method='mixed'"),
        (Ensemble("bagging", sigma=0.3), r"'bagging' has no use for sigma, which is for method='noise'"),
    ],
)
def test_wrong_parameters_are_one_sentence(bench: Bench, broken: Ensemble, match: str) -> None:
    with pytest.raises(SettingsError, match=match):
        broken.fit(bench)


def test_it_keeps_the_contract(tmp_path: Path) -> None:
    small = Bench(Settings(cache=tmp_path, device="cpu")).with_profile(
        architecture="mlp", train_images=400, epochs=4, test_images=60, learning_rate=0.1
    )
    defended = check_defense(Ensemble, small)
    assert set(defended.surfaces) == {"gray_box", "white_box", "adaptive", "grad_1", "grad_2", "scaled"}
    assert len(defended.networks) == 10
