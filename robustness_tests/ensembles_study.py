"""The ensembles paper's study: four kinds of ensemble, two rivals and their combinations, under two gradients."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from study import SURFACES, PaperStudy

from pytest_robust.attacks.attack import Attack
from pytest_robust.bench.bench import Bench
from pytest_robust.bench.defense import Defense
from pytest_robust.claims.paper import Paper
from pytest_robust.data.images import random_subset
from pytest_robust.data.split import Split
from pytest_robust.defenses.adversarial_training import AdversarialTraining
from pytest_robust.defenses.distillation import Distillation
from pytest_robust.defenses.ensemble import Ensemble
from pytest_robust.evaluation.evaluation import Evaluation
from pytest_robust.evaluation.worst_case import WorstCase
from pytest_robust.models.classifier import Classifier
from pytest_robust.models.recipe import Recipe
from pytest_robust.threats.defended import Defended, ThreatModel, network_alone

PAPER = Paper.read(Path(__file__).parent / "claims" / "ensembles.toml")
#: How the members of an ensemble are made to differ: the rows of Table 2.
METHODS = ("random_init", "mixed", "bagging", "noise")
#: The rows of Table 4, under the names of the figures' file.
COMPARED = (
    "bagging",
    "adversarial_training",
    "distillation",
    "bagging_adversarial_training",
    "bagging_distillation",
)
ATTACKS = ("fgsm", "bim")
#: The gradient of one member, and the mean of all members' gradients.
GRADIENTS = ("grad_1", "grad_2")


class EnsemblesStudy(PaperStudy):
    """Everything that the paper's claims look at, made when first asked for.

    Accuracies are on all test images, as the paper's are. "Single" is the first member of the ensemble, the one whose
    gradient Grad. 1 is.

    Args:
        bench: data, training, attacks and evaluation; the study takes the paper's network and epochs instead of the
            profile's, all training images, every epoch, the weights after the last, and plain images.
    """

    def __init__(self, bench: Bench) -> None:
        settings = bench.settings
        sizes: dict[str, Any] = PAPER.data["scale"][settings.scale]
        self._sizes: dict[str, Any] = sizes.get(settings.dataset, sizes["any"])
        every = {"train_images": None, "validation_images": 0, "patience": None}
        plain = {**every, "augmentation": "none", "schedule": "constant"}
        network = PAPER.setup(settings.dataset, "network")
        super().__init__(bench.with_profile(**{**plain, **network, **self._sizes["profile"]}), PAPER)
        self._singles: dict[str, Defended] = {}
        self._evaluated: dict[tuple[str, ...], Evaluation] = {}

    def defense(self, name: str) -> Defense:
        """A row of Table 2 or Table 4."""
        rivals = {"adversarial_training": AdversarialTraining(), "distillation": Distillation()}
        if name in rivals:
            return rivals[name]
        base = rivals.get(name.removeprefix("bagging_"))
        return Ensemble("bagging" if base else name, self._sizes["members"], base=base)

    def title(self, name: str) -> str:
        """How reports call it."""
        return self.defense(name).title

    def defended(self, name: str) -> Defended:
        """It, trained, with all others of its table; a run that asks for one table does not wait for the other."""
        _ = self._ensembles if name in METHODS else self._rivals
        return self.bench.defend(self.defense(name))

    def single(self, method: str) -> Defended:
        """The first member of an ensemble, alone."""
        if method not in self._singles:
            member, title = self.defended(method).networks["member_1"], f"{self.title(method)}, member 1"
            self._singles[method] = network_alone(member, title, base=self.bench.classifier)
        return self._singles[method]

    @cached_property
    def _ensembles(self) -> list[Classifier]:
        """The networks of Table 2, trained at the same time."""
        return self.bench.train_all([recipe for method in METHODS for recipe in self._plain(method)])

    @cached_property
    def _rivals(self) -> list[Classifier]:
        """What Table 4 adds, trained at the same time but for the students, who need their teachers."""
        bench, adversarial, distilled = self.bench, AdversarialTraining(), Distillation()
        bagging = self._plain("bagging")
        taught = [*bagging, bench.recipe(name=distilled.title)]
        hardened = [*adversarial.harden(bagging, bench), adversarial.recipe(bench)]
        first = bench.train_all([*hardened, bench.undefended_recipe, *distilled.teachers(taught)])
        return first + bench.train_all(distilled.harden(taught, bench))

    def _plain(self, method: str) -> list[Recipe]:
        return Ensemble(method, self._sizes["members"]).plain_recipes(self.bench)

    def attack(self, name: str) -> Attack:
        """A registered attack with the paper's parameters."""
        settings = self.bench.settings
        return self.bench.attack_named(name, **PAPER.attack_params(settings.dataset, settings.scale, name))

    def clean(self, name: str) -> Evaluation:
        """What a defense makes of the clean test images."""
        return self.bench.evaluate(self.defended(name))

    def clean_single(self, method: str) -> Evaluation:
        """What the first member makes of the clean test images."""
        return self.bench.evaluate(self.single(method))

    def under(self, name: str, attack: str, gradient: str = "grad_2") -> Evaluation:
        """What a defense makes of an attack with Grad. 1 or Grad. 2; one that is no ensemble has its own gradient."""
        defended = self.defended(name)
        return self._against(defended, attack, gradient if gradient in defended.surfaces else ThreatModel.WHITE_BOX)

    def under_single(self, method: str, attack: str) -> Evaluation:
        """What the first member makes of an attack with its own gradient."""
        return self._against(self.single(method), attack, ThreatModel.WHITE_BOX)

    def _against(self, defended: Defended, attack: str, surface: str) -> Evaluation:
        key = (defended.name, attack, surface)
        if key not in self._evaluated:
            made = self.bench.attack(defended.surface(surface), self.attack(attack))
            self._evaluated[key] = self.bench.evaluate(defended, made)
        return self._evaluated[key]

    def worst_adaptive(self, name: str) -> WorstCase:
        """What a defense makes of a cascade of PGD on itself, after the one PGD and BIM of the same budget.

        An attacker who knows the whole can also take the gradient of a part.
        """
        split, defended, adaptive = self.bench.test_split, self.defended(name), self.under_adaptive(name)
        # The images of `under_adaptive`, among all test images.
        rows, _ = random_subset(len(split), self._sizes["adaptive_images"], self.bench.settings.seed, split.name)
        assert torch.equal(adaptive.y, split.y[rows])
        before = {"pgd": adaptive.wrong}
        before |= {f"bim, {gradient}": self.under(name, "bim", gradient).wrong[rows] for gradient in GRADIENTS}
        return self.worst_case(defended, SURFACES, self.attack("pgd"), self._adaptive_images, before)

    def under_adaptive(self, name: str) -> Evaluation:
        """What a defense makes of PGD on itself: of an ensemble, on its mean probability."""
        defended = self.defended(name)
        surface = self.bench.surface(defended, ThreatModel.ADAPTIVE)
        return self.bench.evaluate(defended, self.bench.attack(surface, self.attack("pgd"), self._adaptive_images))

    @property
    def _adaptive_images(self) -> Split:
        return self.bench.test_split.sample(self._sizes["adaptive_images"], self.bench.settings.seed)

    def member_accuracies(self, method: str, attack: str | None = None) -> list[float]:
        """Of every member alone, on clean images or under an attack with its own gradient."""
        accuracies = []
        for member in self.defended(method).networks.values():
            images = self.bench.test_split if attack is None else self.bench.attack(member, self.attack(attack))
            accuracies.append(float((member.predict(images.x) == images.y).float().mean()))
        return accuracies
