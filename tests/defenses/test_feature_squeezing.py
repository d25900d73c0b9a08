"""Feature squeezing: its distance and threshold by hand, its contract, and an attacker who knows the squeezers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from pytest_robust.attacks.catalogue import PGD
from pytest_robust.attacks.crafting import craft
from pytest_robust.bench import profile
from pytest_robust.bench.bench import Bench
from pytest_robust.bench.settings import Settings
from pytest_robust.data.split import Split
from pytest_robust.defenses.feature_squeezing import (
    Beyond,
    FeatureSqueezing,
    SqueezedDistance,
    SqueezingAware,
    threshold_for,
)
from pytest_robust.errors import SettingsError
from pytest_robust.models.classifier import Classifier
from pytest_robust.testing import check_defense
from pytest_robust.threats.defended import ThreatModel
from pytest_robust.threats.surfaces import DetectorAware, surface_of

TINY = profile.Profile(
    "cuda_convnet_digits", train_images=600, validation_images=100, epochs=8, test_images=120, learning_rate=0.05
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture
def bench(store: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setitem(profile.PROFILES, ("digits", "quick"), TINY)
    return Bench(Settings(cache=store, device="cpu"))


@pytest.fixture
def network() -> Classifier:
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    return Classifier(layers, num_classes=3, input_shape=(1, 4, 4)).requires_grad_(False)


def test_it_keeps_the_contract_of_a_defense(bench: Bench) -> None:
    defended = check_defense(FeatureSqueezing, bench)
    test = bench.test_split
    assert torch.equal(defended.decide(test.x).label, bench.classifier.predict(test.x))


def test_the_distance_is_the_largest_over_the_squeezers(network: Classifier) -> None:
    x = torch.rand(10, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    single = [SqueezedDistance(network, [name])(x) for name in ("bit_depth_1", "median_filter_2_2")]
    both = SqueezedDistance(network, ("bit_depth_1", "median_filter_2_2"))(x)
    assert torch.equal(both, torch.maximum(*single))
    for image, distance in zip(x, single[0], strict=True):
        raw, squeezed = (network(v[None]).softmax(1)[0] for v in (image, (image > 0.5).float()))
        by_hand = sum(abs(float(a - b)) for a, b in zip(raw, squeezed, strict=True))
        assert float(distance) == pytest.approx(by_hand, abs=1e-6)


@given(st.lists(st.integers(0, 50), min_size=1, max_size=60), st.floats(0, 0.9))
def test_the_threshold_is_the_smallest_that_keeps_the_false_alarms(values: list[int], share: float) -> None:
    numbers = torch.tensor(values, dtype=torch.float32)
    threshold = threshold_for(numbers, share)
    slack = 1e-6 * len(values)
    assert int((numbers > threshold).sum()) <= share * len(values) + slack
    smaller = [v for v in values if v < threshold]
    if smaller:
        assert int((numbers > max(smaller)).sum()) > share * len(values) - slack


def test_held_out_images_raise_five_per_cent_of_false_alarms(bench: Bench) -> None:
    defended = bench.defend("feature_squeezing")
    assert bench.validation_split is not None
    held_out = defended.decide(bench.validation_split.x)
    assert int(held_out.rejected.sum()) == 5


def test_a_bench_without_held_out_images_trains_a_network_without_some(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = profile.Profile("cuda_convnet_digits", train_images=200, epochs=2, learning_rate=0.05)
    monkeypatch.setitem(profile.PROFILES, ("digits", "quick"), bare)
    bench = Bench(Settings(cache=store, device="cpu"))
    defended = bench.defend("feature_squeezing")
    assert defended.networks["network"].fingerprint != bench.classifier.fingerprint


def test_the_surface_rejects_where_the_defense_does(bench: Bench) -> None:
    defended, x = bench.defend(FeatureSqueezing(squeezers=("bit_depth_2", "median_filter_3_3"))), bench.test_split.x
    outputs, decision = defended.surface(ThreatModel.ADAPTIVE).logits_of(x), defended.decide(x)
    assert 0 < int(decision.rejected.sum()) < len(x)
    assert float(((outputs.argmax(1) == 10) == decision.rejected).float().mean()) > 0.99


def test_an_attacker_who_knows_the_squeezers_is_rejected_less(bench: Bench) -> None:
    defended = bench.defend("feature_squeezing")
    attack = bench.attack_named("pgd", eps=0.3, eps_step=0.03, max_iter=30)
    blind, aware = (
        bench.evaluate(defended, bench.attack(defended.surface(threat_model), attack))
        for threat_model in (ThreatModel.WHITE_BOX, ThreatModel.ADAPTIVE)
    )
    assert aware.error.value >= blind.error.value


@pytest.mark.parametrize("target", [None, "label+1"])
def test_the_loss_leads_the_squeezed_answers_along_where_the_distance_is_flat(target: str | None) -> None:
    """One pixel, class 1 above 0.45: from there to 0.5 the rounded image is class 0 still, and all answers are sure."""
    layer = nn.Linear(1, 2)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[0.0], [1e4]]))
        layer.bias.copy_(torch.tensor([0.0, -4.5e3]))
    network = Classifier(nn.Sequential(nn.Flatten(), layer), num_classes=2, input_shape=(1, 1, 1))
    distance = SqueezedDistance(network.requires_grad_(False), ["bit_depth_1"])
    attack = PGD.configured(eps=0.1, eps_step=0.01, max_iter=20, num_random_init=0, target=target)
    split = Split(torch.full((2, 1, 1, 1), 0.48), torch.zeros(2, dtype=torch.int64), 2)
    plain, aware = (
        craft(attack, surface_of(module, network, "squeezed", outputs=3), split, seed=0)
        for module in (DetectorAware(network, Beyond(distance, 0.5)), SqueezingAware(network, distance, 0.5))
    )
    assert not bool(plain.success.any())
    assert bool(aware.success.all())
    assert bool((aware.x > 0.5).all())


def test_the_loss_and_the_surface_give_the_same_outputs(network: Classifier) -> None:
    x = torch.rand(10, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    y = torch.zeros(10, dtype=torch.int64)
    aware = SqueezingAware(network, SqueezedDistance(network, ["bit_depth_1", "median_filter_2_2"]), 0.1)
    assert torch.equal(aware(x), aware.attack_loss(x, y, False)[0])


def test_a_gradient_comes_through_the_rounding(network: Classifier) -> None:
    x = torch.full((1, 1, 4, 4), 0.4, requires_grad=True)
    (gradient,) = torch.autograd.grad(SqueezedDistance(network, ["bit_depth_1"])(x).sum(), x)
    assert float(gradient.abs().sum()) > 0


@pytest.mark.parametrize("share", [-0.1, 1.0, 1.5])
def test_an_impossible_share_of_false_alarms_is_refused(share: float) -> None:
    with pytest.raises(SettingsError, match=r"false alarms in \[0, 1\)"):
        threshold_for(torch.rand(10), share)


def test_no_squeezers_and_unknown_ones_are_refused(bench: Bench, network: Classifier) -> None:
    with pytest.raises(SettingsError, match="there is no squeezer 'sharpen'"):
        bench.defend(FeatureSqueezing(squeezers=("sharpen",)))
    with pytest.raises(SettingsError, match="at least one squeezer"):
        SqueezedDistance(network, [])
