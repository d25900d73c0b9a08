"""The dropout autoencoder: what it is trained on, what of it is random, and what an attacker sees of it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from pytest_robust.bench.bench import Bench
from pytest_robust.bench.settings import Settings
from pytest_robust.claims.paper import Paper
from pytest_robust.defenses import dropout_autoencoder
from pytest_robust.defenses.dropout_autoencoder import ATTACK, ATTACK_OF, EXTRA_ITER, DropoutAutoencoder
from pytest_robust.errors import DefenseError
from pytest_robust.models.exploring_networks import exploring_autoencoder
from pytest_robust.testing import check_defense
from pytest_robust.threats.defended import ThreatModel

FIGURES = Path(__file__).parents[2] / "robustness_tests" / "claims" / "exploring.toml"


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    whole = Bench(Settings(cache=tmp_path_factory.mktemp("store"), device="cpu"))
    return whole.with_profile(train_images=300, test_images=48)


def rows(x: torch.Tensor) -> list[bytes]:
    return [row.numpy().tobytes() for row in x]


def test_it_keeps_the_contract(bench: Bench) -> None:
    defended = check_defense(DropoutAutoencoder, bench)
    # It says that noise too small to see draws other masks, and so it does.
    assert defended.random_by_image
    x = bench.test_split.x
    assert not torch.allclose(defended.decide(x).score, defended.decide((x - 1e-6).clamp(0, 1)).score, atol=0.1)
    restored = defended.networks["autoencoder"](bench.test_split.x)
    assert restored.shape == bench.test_split.x.shape
    assert float(restored.min()) >= 0
    assert float(restored.max()) <= 1


def test_it_learns_from_training_images_that_fool_the_plain_network(bench: Bench) -> None:
    network = bench.defend(DropoutAutoencoder()).networks["network"]
    adversarial, originals = DropoutAutoencoder().training_data(bench)
    assert adversarial.kind == "adversarial"
    assert set(rows(originals.x)) <= set(rows(bench.train_split.x))
    assert not set(rows(adversarial.x)) & (set(rows(bench.test_split.x)) | set(rows(originals.x)))
    assert torch.equal(network.predict(originals.x), originals.y)
    assert not (network.predict(adversarial.x) == adversarial.y).any()
    # Every wrong class is somebody's target, and each original is attacked in both ways or in one of them.
    assert len(((network.predict(adversarial.x) - adversarial.y) % 10).unique()) == 9
    assert len(set(rows(originals.x))) <= len(adversarial) <= 2 * len(set(rows(originals.x)))


def test_the_images_to_reach_are_the_originals(bench: Bench) -> None:
    recipe = DropoutAutoencoder().recipe(bench)
    adversarial, originals = DropoutAutoencoder().training_data(bench)
    assert recipe.companion is not None
    assert torch.equal(recipe.companion, originals.x)
    assert recipe.data[0].fingerprint == adversarial.fingerprint
    assert recipe.validation is None
    far = (recipe.companion - recipe.data[0].x).flatten(1).norm(dim=1)
    assert float(far.max()) <= ATTACK["max_l2"] + 1e-5


def test_restored_images_get_their_originals_label_back(bench: Bench) -> None:
    defended = bench.defend(DropoutAutoencoder())
    adversarial, originals = DropoutAutoencoder().training_data(bench)
    autoencoder, network = defended.networks["autoencoder"], defended.networks["network"]
    restored = autoencoder(adversarial.x)
    assert float((network.predict(adversarial.x) == originals.y).float().mean()) == 0.0
    assert float((network.predict(restored) == originals.y).float().mean()) > 0.5


def test_fewer_images_can_be_attacked(bench: Bench) -> None:
    few, _ = DropoutAutoencoder(images=40).training_data(bench)
    assert 0 < len(few) <= 80


def test_only_the_autoencoders_dropout_is_on(bench: Bench) -> None:
    defended = bench.defend(DropoutAutoencoder())
    masked = defended.surface(ThreatModel.ADAPTIVE).network.network
    of_autoencoder = [m for m in defended.networks["autoencoder"].modules() if isinstance(m, nn.Dropout)]
    assert masked.layers == len(of_autoencoder) == 5
    assert any(isinstance(m, nn.Dropout) for m in defended.networks["network"].modules())


def test_the_white_box_is_the_classifier_behind_the_autoencoder(bench: Bench) -> None:
    defended, x = bench.defend(DropoutAutoencoder()), bench.test_split.x[:8]
    behind = defended.networks["network"](defended.networks["autoencoder"](x))
    assert torch.allclose(defended.surface(ThreatModel.WHITE_BOX)(x), behind, atol=1e-5)


def test_an_attack_that_fools_nobody_is_an_error(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(dropout_autoencoder.ATTACK, "max_l2", 1e-6)
    with pytest.raises(DefenseError, match="no training image"):
        DropoutAutoencoder().training_data(bench)


@pytest.mark.parametrize("dataset", ["digits", "mnist", "cifar10"])
def test_it_is_trained_against_the_attack_of_the_papers_file(dataset: str) -> None:
    paper = Paper.read(FIGURES)
    trained = {k: v for k, v in {**ATTACK, **ATTACK_OF.get(dataset, {})}.items() if v is not None}
    assert paper.attack_params(dataset, "paper", "ascent") == trained
    assert (0, paper.setup(dataset, "extended")["extra_iter"]) == EXTRA_ITER


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 32, 32), (1, 7, 9)])
def test_the_autoencoder_gives_images_of_any_size(shape: tuple[int, int, int]) -> None:
    built = exploring_autoencoder(10, shape).eval()
    restored = built(torch.rand(2, *shape))
    assert restored.shape == (2, *shape)
    kinds = {type(m).__name__ for m in built}
    assert {"Conv2d", "ConvTranspose2d", "BatchNorm2d", "ReLU", "Dropout"} <= kinds
    assert not any(isinstance(m, nn.Linear) for m in built.modules())
