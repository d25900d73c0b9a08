"""GAC: one optimiser with a reversed gradient against two optimisers, and what is the same in the plain classifier."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pytest_robust.bench.bench import Bench
from pytest_robust.bench.settings import Settings
from pytest_robust.defenses.gac import PENALTY, GenerativeAdversarialClassifier, GenerativeAdversarialLoss
from pytest_robust.errors import ModelError
from pytest_robust.models.classifier import Classifier
from pytest_robust.models.exploring_networks import gac_conv, gac_conv_classifier, gac_mlp, gac_mlp_classifier
from pytest_robust.models.losses import Batch
from pytest_robust.testing import check_defense
from pytest_robust.threats.defended import ThreatModel

SHAPE = (1, 8, 8)
FACTORIES = {"mlp": (gac_mlp, gac_mlp_classifier), "conv": (gac_conv, gac_conv_classifier)}
VERSIONS = pytest.mark.parametrize("version", FACTORIES)


def in_training(version: str) -> Classifier:
    """A GAC in float64 whose generator does something already."""
    torch.manual_seed(0)
    network = FACTORIES[version][0](10, SHAPE)
    for parameter in network.generator.parameters():
        nn.init.normal_(parameter, std=0.1)
    return Classifier(network, num_classes=10, input_shape=SHAPE).double().train()


def batch(n: int = 16, seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(n, *SHAPE, generator=generator, dtype=torch.float64)
    return Batch(x, torch.randint(0, 10, (n,), generator=generator), None)


def objectives(classifier: Classifier, part: Batch, penalty: float) -> tuple[Tensor, Tensor]:
    """What C minimises, and what G maximises, as the paper writes them; float32 as in a training."""
    generated = classifier.network.generator(part.x)
    clean, fooled = (F.cross_entropy(classifier(x).float(), part.y) for x in (part.x, generated))
    size = torch.stack([(g - x).float().square().sum() for g, x in zip(generated, part.x, strict=True)]).mean()
    return clean + fooled, fooled - penalty * size


@VERSIONS
def test_gradients_are_those_of_the_min_max(version: str) -> None:
    classifier, part = in_training(version), batch()
    network = classifier.network
    loss, _ = GenerativeAdversarialLoss(0.3)(classifier, part)
    found = torch.autograd.grad(loss, list(network.parameters()))
    of = dict(zip([name for name, _ in network.named_parameters()], found, strict=True))
    for player, prefix, sign in ((0, "classifier", 1), (1, "generator", -1)):
        named = [(n, p) for n, p in network.named_parameters() if n.startswith(prefix)]
        expected = torch.autograd.grad(objectives(classifier, part, 0.3)[player], [p for _, p in named])
        for (name, _), gradient in zip(named, expected, strict=True):
            assert torch.allclose(of[name], sign * gradient, rtol=1e-4, atol=1e-6), name


@VERSIONS
@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.Adam])
def test_one_optimiser_takes_the_steps_of_two(version: str, optimizer: Any) -> None:
    one = in_training(version)
    two = copy.deepcopy(one)
    shared = optimizer(one.parameters(), 1e-3)
    players = [optimizer(part.parameters(), 1e-3) for part in (two.network.classifier, two.network.generator)]
    for step in range(4):
        part = batch(seed=step)
        shared.zero_grad()
        GenerativeAdversarialLoss(0.3)(one, part)[0].backward()
        shared.step()
        minimised, maximised = objectives(two, part, 0.3)
        gradients = [
            torch.autograd.grad(value, list(player.parameters()), retain_graph=True)
            for value, player in ((minimised, two.network.classifier), (-maximised, two.network.generator))
        ]
        for player, gradient in zip((two.network.classifier, two.network.generator), gradients, strict=True):
            for parameter, g in zip(player.parameters(), gradient, strict=True):
                parameter.grad = g
        for player in players:
            player.step()
    for (name, first), second in zip(one.named_parameters(), two.parameters(), strict=True):
        assert torch.allclose(first, second, atol=2e-5), name


@VERSIONS
def test_the_classifier_starts_as_it_would_without_a_generator(version: str) -> None:
    whole, plain = FACTORIES[version]
    torch.manual_seed(5)
    network = whole(10, SHAPE)
    torch.manual_seed(5)
    alone = plain(10, SHAPE).state_dict()
    assert all(torch.equal(alone[name], tensor) for name, tensor in network.classifier.state_dict().items())
    x = torch.rand(3, *SHAPE)
    assert torch.equal(network.eval().generator(x), x)
    assert torch.equal(network(x), network.classifier(x))


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 32, 32), (1, 9, 13)])
@VERSIONS
def test_generators_give_images_of_the_same_size(version: str, shape: tuple[int, int, int]) -> None:
    network = FACTORIES[version][0](4, shape).eval()
    x = torch.rand(2, *shape)
    assert network.generator(x).shape == x.shape
    assert network(x).shape == (2, 4)


@VERSIONS
def test_features_are_the_classifiers(version: str) -> None:
    network = FACTORIES[version][0](10, SHAPE)
    classifier = Classifier(network, num_classes=10, input_shape=SHAPE)
    assert classifier.features(torch.rand(2, *SHAPE)).shape == (2, network.classifier[-1].in_features)


def test_a_higher_price_makes_smaller_perturbations() -> None:
    sizes = []
    for penalty in (0.0, 1.0, 100.0):
        classifier, part = in_training("mlp"), batch(64)
        optimizer = torch.optim.Adam(classifier.parameters(), 1e-3)
        for _ in range(20):
            optimizer.zero_grad()
            GenerativeAdversarialLoss(penalty)(classifier, part)[0].backward()
            optimizer.step()
        with torch.no_grad():
            sizes.append(float((classifier.network.generator(part.x) - part.x).norm()))
    assert sizes[0] > sizes[1] > sizes[2]


def test_a_network_without_a_generator_is_refused() -> None:
    plain = Classifier(gac_mlp_classifier(10, SHAPE), num_classes=10, input_shape=SHAPE)
    with pytest.raises(ModelError, match="no generator"):
        GenerativeAdversarialLoss()(plain, batch())


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    whole = Bench(Settings(cache=tmp_path_factory.mktemp("store"), device="cpu"))
    return whole.with_profile(train_images=300, test_images=48)


def test_it_keeps_the_contract(bench: Bench) -> None:
    defended = check_defense(GenerativeAdversarialClassifier, bench)
    assert defended.surface(ThreatModel.GRAY_BOX) is defended.networks["plain"]
    assert defended.surface(ThreatModel.ADAPTIVE) is defended.networks["network"]
    perturbed = defended.networks["network"].network.generator(bench.test_split.x)
    assert not torch.equal(perturbed, bench.test_split.x)


@VERSIONS
def test_the_plain_classifier_is_trained_in_step(bench: Bench, version: Any) -> None:
    defense = GenerativeAdversarialClassifier(version=version)
    with_generator, plain = defense.recipe(bench).settings, defense.plain_recipe(bench).settings
    differ = {name for name in with_generator if with_generator[name] != plain[name]}
    assert differ == {"architecture", "loss"}


def test_the_price_can_be_set(bench: Bench) -> None:
    defense = GenerativeAdversarialClassifier
    default, chosen = defense().recipe(bench).loss, defense(penalty=0.5).recipe(bench).loss
    assert isinstance(default, GenerativeAdversarialLoss)
    assert isinstance(chosen, GenerativeAdversarialLoss)
    assert chosen.penalty == 0.5
    assert default.penalty == PENALTY
    assert defense(epochs=3).recipe(bench).epochs == 3
