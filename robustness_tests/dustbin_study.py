"""The dustbin paper's study: its three networks, its five attacks, and what the former make of the latter."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from study import SURFACES, PaperStudy

from pytest_robust.attacks.adversarial_set import AdversarialSet
from pytest_robust.attacks.attack import Attack
from pytest_robust.bench.bench import Bench
from pytest_robust.bench.defense import Defense
from pytest_robust.claims.paper import Paper
from pytest_robust.data.images import random_subset
from pytest_robust.data.split import Split
from pytest_robust.defenses.dustbin import SOURCE_SEED, Dustbin, choose_sources
from pytest_robust.defenses.none import Undefended
from pytest_robust.evaluation.evaluation import Evaluation
from pytest_robust.evaluation.worst_case import WorstCase
from pytest_robust.threats.defended import Defended, ThreatModel

PAPER = Paper.read(Path(__file__).parent / "claims" / "dustbin.toml")
#: Registered names of FGS, T-FGS, I-FGS, DeepFool and C&W.
ATTACKS = ("fgsm", "fgsm_targeted", "bim", "deepfool", "cw_l2")
#: The networks, under the names of the figures' file.
VARIANTS = ("naive", "augmented", "interpolated")
#: Where an attack pushes C&W's images: each to both, so that every image counts twice.
CW_TARGETS = ("least_likely", "most_likely")


class DustbinStudy(PaperStudy):
    """Everything that the paper's claims look at, made when first asked for.

    Args:
        bench: data, training, attacks and evaluation.
    """

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench, PAPER)
        self._sets: dict[str, AdversarialSet] = {}

    def defense(self, variant: str) -> Defense:
        """The naive network, or one of the two augmented ones, under the names of the figures' file."""
        return {"naive": Undefended(), "augmented": Dustbin(interpolated=0.0), "interpolated": Dustbin()}[variant]

    def title(self, variant: str) -> str:
        """How reports call it."""
        return self.defense(variant).title

    def defended(self, variant: str) -> Defended:
        """It, trained."""
        return self._defended[variant]

    @cached_property
    def _defended(self) -> dict[str, Defended]:
        # All networks at once, because they train in parallel; the augmented ones need the naive one's features.
        bench = self.bench
        bench.train_all([bench.undefended_recipe, bench.surrogate_recipe])
        bench.train_all([Dustbin(interpolated=0.0).recipe(bench), Dustbin().recipe(bench)])
        return {variant: bench.defend(self.defense(variant)) for variant in VARIANTS}

    @cached_property
    def attacked(self) -> Split:
        """Test images that the attacker's surrogate classifies correctly (section VI)."""
        return self.bench.correctly_classified(self.bench.surrogate, self.bench.test_split)

    def adversaries(self, attack: str) -> AdversarialSet:
        """Black-box adversaries, crafted on the surrogate; C&W's are two for each image."""
        if attack not in self._sets:
            self._sets[attack] = self._craft(attack)
        return self._sets[attack]

    def _craft(self, attack: str) -> AdversarialSet:
        settings = self.bench.settings
        params: dict[str, Any] = PAPER.attack_params(settings.dataset, settings.scale, attack)
        if attack != "cw_l2":
            return self.bench.attack(self.bench.surrogate, self.bench.attack_named(attack, **params), self.attacked)
        images = self.attacked.sample(PAPER.setup(settings.dataset, "cw_l2")["images"], settings.seed)
        targeted = [self.bench.attack_named(attack, target=target, **params) for target in CW_TARGETS]
        return AdversarialSet.cat([self.bench.attack(self.bench.surrogate, chosen, images) for chosen in targeted])

    def under(self, variant: str, attack: str) -> Evaluation:
        """What a network makes of an attack's adversaries."""
        return self.bench.evaluate(self.defended(variant), self.adversaries(attack))

    def under_adaptive(self, variant: str) -> Evaluation:
        """What a network makes of PGD on itself, by an attacker who knows of the dustbin and avoids it."""
        defended = self.defended(variant)
        surface = self.bench.surface(defended, ThreatModel.ADAPTIVE)
        return self.bench.evaluate(defended, self.bench.attack(surface, self._pgd, self._adaptive_images))

    def worst_adaptive(self, variant: str) -> WorstCase:
        """What a network makes of a cascade of PGD, after the one and the transferred attacks of no larger budget.

        An attacker who knows the network can also try what others transfer.
        """
        settings, attacked, limit = self.bench.settings, self.attacked, self._pgd.eps
        assert limit is not None
        budgets = {
            attack: PAPER.attack_params(settings.dataset, settings.scale, attack).get("eps") for attack in ATTACKS
        }
        transferred = [attack for attack, eps in budgets.items() if eps is not None and eps <= limit]
        # The images of `under_adaptive`, among those attacked.
        images = PAPER.data["scale"][settings.scale]["adaptive_images"]
        rows, _ = random_subset(len(attacked), images, settings.seed, attacked.name)
        adaptive = self.under_adaptive(variant)
        assert torch.equal(adaptive.y, attacked.y[rows])
        before = {"pgd": adaptive.wrong, **{attack: self.under(variant, attack).wrong[rows] for attack in transferred}}
        return self.worst_case(self.defended(variant), SURFACES, self._pgd, self._adaptive_images, before)

    @property
    def _pgd(self) -> Attack:
        settings = self.bench.settings
        return self.bench.attack_named("pgd", **PAPER.attack_params(settings.dataset, settings.scale, "pgd"))

    @property
    def _adaptive_images(self) -> Split:
        settings = self.bench.settings
        return self.attacked.sample(PAPER.data["scale"][settings.scale]["adaptive_images"], settings.seed)

    def unexplained(self) -> tuple[int, int]:
        """How many of the dustbin's training images are neither given ones nor halfway between two; and of how many.

        Whatever an attack made would be neither.
        """
        bench, dustbin = self.bench, Dustbin()
        training, parts = bench.train_split, dustbin.training_data(bench)
        given = {_levels(row) for split in (training, bench.out_distribution.train) for row in split.x}
        per_class = round(dustbin.interpolated * len(training) / bench.dataset.num_classes)
        sources = training.x[choose_sources(training.y, per_class, bench.settings.seed + SOURCE_SEED)]
        # The other end of the line from a source through its mixture.
        ends = [2 * part.x - sources if part.kind == "interpolated" else part.x for part in parts]
        return sum(_levels(row) not in given for part in ends for row in part), sum(map(len, parts))

    def clean(self, variant: str) -> Evaluation:
        """What a network makes of the clean test images."""
        return self.bench.evaluate(self.defended(variant))

    def foreign(self, variant: str) -> Evaluation:
        """What a network makes of out-distribution test images."""
        return self.bench.evaluate(self.defended(variant), self.bench.out_distribution_test_split)

    def far_from_classes(self, variant: str, attack: str) -> torch.Tensor:
        """Relative distance of each adversary from its nearest class, in a network's penultimate features."""
        from pytest_robust.evaluation.features import ClassGeometry

        network = self.defended(variant).networks["network" if variant == "naive" else "augmented"]
        train = self.bench.train_split
        geometry = ClassGeometry.of(network.features_of(train.x), train.y)
        return geometry.distance(network.features_of(self.adversaries(attack).x))


def _levels(image: torch.Tensor) -> bytes:
    """An image as whole numbers, fine enough for 8 bits and coarse enough for what rounding leaves."""
    return (1000 * image).round().to(torch.int16).cpu().numpy().tobytes()
