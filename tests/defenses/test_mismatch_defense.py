"""Bi-model mismatch: what the detector is fitted on, what is decided, and an attacker who looks at the detector."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from pytest_robust.attacks.objectives import rejection_counts_as, runner_up
from pytest_robust.bench import profile
from pytest_robust.bench.bench import Bench
from pytest_robust.bench.settings import Settings
from pytest_robust.data.split import Split
from pytest_robust.defenses import mismatch
from pytest_robust.defenses.mismatch import (
    LabelFirst,
    Mismatch,
    MismatchAware,
    attacked_images,
    detector_images,
    features_of,
)
from pytest_robust.errors import SettingsError
from pytest_robust.models.classifier import Classifier
from pytest_robust.testing import check_defense
from pytest_robust.threats.defended import ThreatModel
from pytest_robust.threats.surfaces import surface_of

TINY = profile.Profile("cuda_convnet_digits", train_images=600, validation_images=100, epochs=1, test_images=120)
IMAGES = 240


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture
def bench(store: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setitem(profile.PROFILES, ("digits", "quick"), TINY)
    monkeypatch.setitem(mismatch.TRAINING_OF, ("digits", "quick"), {"epochs": 12, "learning_rate": 0.05})
    monkeypatch.setitem(mismatch.IMAGES, "quick", IMAGES)
    return Bench(Settings(cache=store, device="cpu"))


def linear(weight: torch.Tensor, name: str) -> Classifier:
    """A network of 2×1 images whose logits are a matrix (K, 2) times the pixels."""
    layer = nn.Linear(2, len(weight), bias=False)
    layer.weight.data = weight
    network = Classifier(nn.Sequential(nn.Flatten(), layer), num_classes=len(weight), input_shape=(1, 2, 1), name=name)
    return network.eval().requires_grad_(False)


def test_it_keeps_the_contract_of_a_defense(bench: Bench) -> None:
    defended = check_defense(Mismatch, bench)
    assert set(defended.networks) == {"network_1", "network_2"}
    test = bench.test_split
    assert torch.equal(defended.decide(test.x).label, defended.networks["network_1"].predict(test.x))


def test_an_image_is_attacked_once_and_failures_stay_clean(bench: Bench) -> None:
    networks, images = Mismatch().networks(bench), detector_images(bench)
    data = attacked_images(bench, networks, bench.attack_named("fgsm", eps=0.1), images)
    assert len(images) == IMAGES
    assert torch.equal(data.x[~data.attacked], images.x[~data.attacked])
    assert bool((data.network[data.attacked] >= 0).all())
    for number, victim in enumerate(networks):
        fooled = data.attacked & (data.network == number)
        assert int(fooled.sum()) > 0
        assert bool((victim.predict(data.x[fooled]) != images.y[fooled]).all())
        assert bool((victim.predict(images.x[fooled]) == images.y[fooled]).all())
        failed = (data.network == number) & ~data.attacked
        assert int(failed.sum()) > 0
        made = data.sets[number]  # the failures are in it, so that an attack which did not work can be told
        assert len(made) == int(fooled.sum()) + int((~made.success).sum())


def test_about_half_is_attacked_and_each_attack_draws_anew(bench: Bench) -> None:
    networks, images = Mismatch().networks(bench), detector_images(bench)
    first, again, other = (
        attacked_images(bench, networks, bench.attack_named(name), images).network
        for name in ("fgsm", "fgsm", "deepfool")
    )
    assert torch.equal(first, again)
    agree = float((first == other).float().mean())
    assert 0.2 < agree < 0.6  # of independent draws: ½² + 2 · ¼² = 0.375
    for drawn in (first, other):
        assert 0.35 < float((drawn >= 0).float().mean()) < 0.65
        assert 0.35 < float((drawn[drawn >= 0] == 0).float().mean()) < 0.65


def test_no_test_image_is_seen(bench: Bench) -> None:
    train = {tuple(row) for row in detector_images(bench).x.flatten(1).tolist()}
    held_out = {tuple(row) for row in bench.validation_split.x.flatten(1).tolist()}
    assert not train & held_out
    assert not train & {tuple(row) for row in bench.test_split.x.flatten(1).tolist()}


@pytest.mark.parametrize(("answers", "total"), [("softmax", 2.0), ("log_softmax", None)])
def test_features_are_both_networks_answers(bench: Bench, answers: str, total: float | None) -> None:
    networks, x = Mismatch().networks(bench), bench.test_split.x[:20]
    features = features_of(networks, x, answers)
    assert features.shape == (20, 20)
    probabilities = features if total else features.exp()
    assert torch.allclose(probabilities.sum(1), torch.full((20,), 2.0), atol=1e-5)
    assert torch.equal(features[:, 10:].argmax(1), networks[1].predict(x))


@pytest.mark.parametrize("detector", ["svm", "random_forest", "knn"])
def test_the_surface_rejects_where_the_svm_does(bench: Bench, detector: str) -> None:
    defended = bench.defend(Mismatch(detector=detector))
    surface = defended.surface(ThreatModel.ADAPTIVE)
    outputs, decision = surface.logits_of(bench.test_split.x), defended.decide(bench.test_split.x)
    suspicion = outputs[:, -1] - outputs[:, :-1].amax(1)
    assert torch.equal(outputs[:, :-1].argmax(1), decision.label)
    if detector == "svm":
        assert torch.allclose(suspicion, decision.score, atol=1e-4)
    else:  # its stand-in agrees with it on most images, not on all
        agree = float(((suspicion > 0) == decision.rejected).float().mean())
        assert 0.7 < agree <= 1


@pytest.fixture
def two_networks() -> tuple[Classifier, Classifier]:
    """Class 1 where the first pixel is larger by itself (network 1), or the second one (network 2)."""
    return (
        linear(torch.tensor([[0.0, 0.0], [10.0, 0.0]]), "looks at pixel 1"),
        linear(torch.tensor([[0.0, 0.0], [0.0, 10.0]]), "looks at pixel 2"),
    )


class Disagreement(nn.Module):
    """Above zero where the two networks' probabilities of class 1 differ by more than a half."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return (features[:, 1] - features[:, 3]).abs() - 0.25


def test_an_attacker_who_looks_fools_both_where_one_who_does_not_is_detected(
    two_networks: tuple[Classifier, Classifier], craft_with: Callable[..., torch.Tensor]
) -> None:
    first, second = two_networks
    machine = Disagreement()
    surface = surface_of(MismatchAware((first, second), machine, "softmax"), first, "both", outputs=3)
    # Label 0 by both networks: class 1 has the lower logit only below zero, so the label is the tie's first class.
    x = torch.zeros(8, 1, 2, 1)
    y = torch.zeros(8, dtype=torch.int64)

    def wrong_and_accepted(images: torch.Tensor) -> torch.Tensor:
        outputs = surface(images)
        return rejection_counts_as(outputs, y).argmax(1) != y

    blind, aware = craft_with(first, x, y), craft_with(surface, x, y)
    assert bool((first.predict(blind) == 1).all())
    assert not bool(wrong_and_accepted(blind).any())
    assert bool(wrong_and_accepted(aware).all())


@pytest.mark.parametrize("targeted", [False, True])
def test_label_first_turns_to_the_detector_where_the_label_is_wrong(
    two_networks: tuple[Classifier, Classifier], targeted: bool
) -> None:
    first, _ = two_networks
    label_first = LabelFirst(two_networks, Disagreement(), "softmax")
    x = torch.tensor([[0.02, 0.3], [0.08, 0.3], [0.3, 0.28], [0.9, 0.1]]).view(4, 1, 2, 1).requires_grad_()
    # An untargeted attack leaves class 0, a targeted one goes to class 1: one and the same attack, of two signs.
    y = torch.full((4,), int(targeted))
    outputs, values = label_first.attack_loss(x, y, targeted)
    (got,) = torch.autograd.grad(-values.sum() if targeted else values.sum(), x)
    log_odds = runner_up(first(x), torch.zeros(4, dtype=torch.int64))
    suspicion = label_first._outputs(x)[1]
    label, detector = (torch.autograd.grad(part.sum(), x)[0] for part in (log_odds, -suspicion))
    assert (log_odds < 1).tolist() == [True, True, False, False]
    torch.testing.assert_close(got, torch.cat([label[:2], detector[2:]]))
    assert torch.equal(outputs, label_first(x))
    # Whatever is wrong and accepted is worth more than what is wrong and rejected, or right.
    worth = (-values if targeted else values).detach()
    assert float(worth[2]) > float(worth[[0, 1, 3]].max())


class Suspects(nn.Module):
    """Above zero where one column of the answers is above 0.4."""

    def __init__(self, column: int, weight: float) -> None:
        super().__init__()
        self.column, self.weight = column, weight

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.weight * (features[:, self.column] - 0.4)


def test_an_attacker_leaves_what_both_networks_fall_for_where_the_detector_waits(
    craft_with: Callable[..., torch.Tensor],
) -> None:
    """The difference of the pixels makes class 1 when it rises, class 2, more slowly, when it falls."""
    networks = [linear(torch.tensor([[0.0, 0.0], [10.0, -10.0], [-6.0, 6.0]]), f"network {i}") for i in (1, 2)]
    aware = MismatchAware(networks, Suspects(1, 4.0), "softmax")
    surface = surface_of(aware, networks[0], "class 1 is suspicious", outputs=4)
    made = craft_with(surface, torch.full((3, 1, 2, 1), 0.5), torch.zeros(3, dtype=torch.int64), eps=0.3)
    assert surface.predict(made).tolist() == [2, 2, 2]


def test_a_targeted_attacker_lowers_the_suspicion_too(craft_with: Callable[..., torch.Tensor]) -> None:
    """Pixel 1 makes class 1 by both networks, pixel 2 makes network 2's class 2, which is suspicious."""
    networks = (
        linear(torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 0.0]]), "looks at pixel 1"),
        linear(torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]]), "looks at both"),
    )
    aware = MismatchAware(networks, Suspects(5, 6.0), "softmax")
    surface = surface_of(aware, networks[0], "network 2's class 2 is suspicious", outputs=4)
    x, y = torch.full((3, 1, 2, 1), 0.5), torch.zeros(3, dtype=torch.int64)
    made = craft_with(surface, x, y, eps=0.3, target="label+1")
    assert surface.predict(made).tolist() == [1, 1, 1]
    assert bool((made[:, 0, 1] < 0.5).all())


@pytest.fixture
def craft_with() -> Callable[..., torch.Tensor]:
    from pytest_robust.attacks.catalogue import PGD
    from pytest_robust.attacks.crafting import craft

    def run(surface: Classifier, x: torch.Tensor, y: torch.Tensor, **params: object) -> torch.Tensor:
        attack = PGD.configured(**{"eps": 0.5, "eps_step": 0.05, "max_iter": 40, "num_random_init": 0, **params})
        classes = surface.num_classes - surface.rejects
        return craft(attack, surface, Split(x, y, classes, "corner"), seed=0).x

    return run


def test_an_unknown_detector_is_refused_before_anything_is_attacked(bench: Bench) -> None:
    with pytest.raises(SettingsError, match="there is no detector 'svn'"):
        bench.defend(Mismatch(detector="svn"))


def test_an_attack_that_fools_nobody_is_refused_with_what_to_do(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(mismatch.IMAGES, "quick", 20)
    harmless = bench.attack_named("fgsm", eps=1e-6)
    monkeypatch.setattr(bench, "attack_named", lambda _: harmless)
    with pytest.raises(SettingsError, match="choose an attack that fools these networks"):
        bench.defend(Mismatch(attack="fgsm", answers="log_softmax"))
