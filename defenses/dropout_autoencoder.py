"""The dropout autoencoder: images are mapped back to their originals, with dropout on, before they are classified."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import nn

from pytest_robust.attacks.adversarial_set import AdversarialSet
from pytest_robust.bench.bench import Bench
from pytest_robust.bench.defense import Defense
from pytest_robust.data.split import Split
from pytest_robust.defenses.dropout_ensemble import (
    ATTACKER_SEED,
    MASK_SEED,
    PAPER,
    Score,
    decide_by_votes,
    plain_recipe,
    voting_fingerprint,
)
from pytest_robust.errors import DefenseError
from pytest_robust.models.dropout_masks import KeyedPasses, MeanOverMasks
from pytest_robust.models.recipe import Recipe
from pytest_robust.models.reconstruction import Reconstruction
from pytest_robust.threats.defended import Defended, ThreatModel
from pytest_robust.threats.surfaces import surface_of

#: Of the attack that the autoencoder learns to undo: the authors' code for MNIST, which also serves the digits …
ATTACK: dict[str, Any] = {"eps_step": 0.005, "max_iter": 50, "max_l2": 2.0}
#: … and for CIFAR-10.
ATTACK_OF: dict[str, dict[str, Any]] = {"cifar10": {"max_iter": 40, "max_l2": None}}
#: Steps past the boundary of minimal and of extended adversaries (10: our choice; the paper says "several").
EXTRA_ITER = (0, 10)
#: Training images that are attacked: the paper made adversaries of 10,000; `quick` of fewer, for two cores.
IMAGES = {"quick": 2_000, "paper": 10_000}
#: The autoencoder's training (our choice: the paper says nothing of it).
TRAINING: dict[str, Any] = {"optimizer": "adam", "learning_rate": 1e-3, "epochs": 10, "batch_size": 100}
#: Few digits need more epochs for as many steps.
TRAINING_OF: dict[str, dict[str, Any]] = {"digits": {"epochs": 20}}


@dataclass(frozen=True)
class DropoutAutoencoder(Defense):
    """An autoencoder before the plain network: several passes with the autoencoder's dropout on, and a plurality vote.

    The autoencoder is trained from adversarial to original images, of training images alone. Masks, score and draws are
    those of `DropoutEnsemble`; the plain network's own dropout stays off.

    Args:
        passes: through autoencoder and classifier; the paper gives no number (10: our choice, for its cost).
        score: "entropy" of the votes in nats, or the "variance" of the predicted class indices.
        draws: masks over which the adaptive attacker takes the mean.
        images: training images that are attacked, twice each, to train the autoencoder; None is 10,000, at `quick`
            2,000.
    """

    name: ClassVar[str] = "dropout_autoencoder"
    paper: ClassVar[str] = PAPER
    limitation: ClassVar[str] = (
        "an attacker who differentiates through the autoencoder, over dropout masks, attacks it directly (Athalye et "
        "al. 2018); and it costs accuracy on clean images (its own authors)"
    )

    passes: int = 10
    score: Score = "entropy"
    draws: int = 10
    images: int | None = None

    def fit(self, bench: Bench) -> Defended:
        """Train the plain network, attack training images on it, and train the autoencoder on what comes out."""
        network, autoencoder = bench.train(plain_recipe(bench)), bench.train(self.recipe(bench))
        restored = surface_of(nn.Sequential(autoencoder, network), network, f"{self.title}, without dropout")
        ensemble = KeyedPasses(restored, self.passes, bench.settings.seed + MASK_SEED, autoencoder)
        attacker = MeanOverMasks(restored, self.draws, bench.settings.seed + ATTACKER_SEED, autoencoder)
        return Defended(
            name=self.title,
            num_classes=network.num_classes,
            decide_batch=lambda x: decide_by_votes(ensemble(x), self.score),
            surfaces={
                ThreatModel.GRAY_BOX: network,
                # A vote has no gradient; without dropout there is one pass and nothing to vote on.
                ThreatModel.WHITE_BOX: restored,
                ThreatModel.ADAPTIVE: surface_of(attacker, network, f"{self.title}, mean over masks"),
            },
            device=bench.device,
            fingerprint=voting_fingerprint(self, ensemble, restored.fingerprint),
            networks={"network": network, "autoencoder": autoencoder},
            random_by_image=True,
        )

    def recipe(self, bench: Bench) -> Recipe:
        """Of the autoencoder; its companion holds the originals.

        Raises:
            DefenseError: no training image was fooled, so that there is nothing to learn from.
        """
        adversarial, originals = self.training_data(bench)
        return bench.recipe(
            adversarial,
            companion=originals.x,
            loss=Reconstruction(),
            architecture="exploring_autoencoder",
            name=self.title,
            validation=None,
            patience=None,
            weight_decay=0.0,
            schedule="constant",
            augmentation="none",
            normalization="none",
            **{**TRAINING, **TRAINING_OF.get(bench.dataset.name, {})},
        )

    def training_data(self, bench: Bench) -> tuple[Split, Split]:
        """Adversarial images, of kind "adversarial", and the training images they were made from, in the same order."""
        parts = [part for extra in EXTRA_ITER for part in self._adversaries(bench, extra)]
        fooled = [part.subset(part.success) for part in parts if bool(part.success.any())]
        if not fooled:
            raise DefenseError(f"the defense {self.title!r}: the attack fooled the plain network on no training image.")
        x, y = torch.cat([part.x for part in fooled]), torch.cat([part.y for part in fooled])
        originals = torch.cat([part.clean.x for part in fooled])
        classes, name = bench.dataset.num_classes, bench.train_split.name
        return Split(x, y, classes, f"ascent of {name}", "adversarial"), Split(originals, y, classes, name)

    def _adversaries(self, bench: Bench, extra_iter: int) -> list[AdversarialSet]:
        """Training images attacked on the plain network, the wrong classes dealt out in turn."""
        network, wrong = bench.train(plain_recipe(bench)), bench.dataset.num_classes - 1
        images = IMAGES[bench.settings.scale] if self.images is None else self.images
        training = bench.train_split.subset(range(min(images, len(bench.train_split))))  # their order is random already
        chosen = bench.correctly_classified(network, training)
        params = {**ATTACK, **ATTACK_OF.get(bench.dataset.name, {}), "extra_iter": extra_iter}
        attacks = [bench.attack_named("ascent", target=f"label+{k}", **params) for k in range(1, wrong + 1)]
        return [
            bench.attack(network, attack, chosen.subset(range(first, len(chosen), wrong)))
            for first, attack in enumerate(attacks)
            if first < len(chosen)
        ]


defense = DropoutAutoencoder
