"""Defensive distillation: a student learns the softened answers of a teacher of the same architecture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch

from pytest_robust.bench.bench import Bench
from pytest_robust.bench.hardening import Hardening
from pytest_robust.errors import SettingsError
from pytest_robust.models.recipe import Recipe
from pytest_robust.models.soft_labels import HotCrossEntropy, SoftLabels


@dataclass(frozen=True, repr=False)
class Distillation(Hardening):
    """Teacher and student are trained at temperature T; the student is used at temperature 1.

    Args:
        temperature: T > 0.
    """

    name: ClassVar[str] = "distillation"
    paper: ClassVar[str] = "Papernot et al., IEEE S&P 2016, arXiv:1511.04508"
    limitation: ClassVar[str] = (
        "it hides the gradient of the cross-entropy, whose softmax saturates at temperature 1, and nothing else: "
        "attacks on the logits break it completely (Carlini & Wagner, IEEE S&P 2017, arXiv:1608.04644)"
    )

    temperature: float = 10.0

    def teachers(self, recipes: Sequence[Recipe]) -> list[Recipe]:
        """Of the teachers of the networks that `recipes` describe: the same training, at the temperature.

        Raises:
            SettingsError: the temperature is not above 0.
        """
        if not 0 < self.temperature < float("inf"):
            raise SettingsError(f"{self.title} cannot be trained: its temperature must be a number above 0.")
        hot = HotCrossEntropy(self.temperature)
        return [replace(self._paced(recipe), loss=hot, name=f"teacher of {recipe.title}") for recipe in recipes]

    def _harden(self, recipes: list[Recipe], bench: Bench) -> list[Recipe]:
        teachers = bench.train_all(self.teachers(recipes))
        soft = SoftLabels(self.temperature)
        return [
            replace(
                self._paced(recipe),
                loss=soft,
                companion=torch.cat([teacher.logits_of(split.x) for split in recipe.data]),
            )
            for recipe, teacher in zip(recipes, teachers, strict=True)
        ]

    def _paced(self, recipe: Recipe) -> Recipe:
        """With steps as long as at temperature 1: at T the gradient of the logits is T times smaller.

        Without it a recipe whose learning rate suits T = 1 hardly trains: on 200 held-out digits, after 10 epochs at
        0.05, a teacher with T = 10 had 0.52 right and its student 0.20; at 0.5 both had 0.98. Adam has no need of it.
        """
        if recipe.optimizer != "sgd":
            return recipe
        t = self.temperature
        return replace(recipe, learning_rate=recipe.learning_rate * t, weight_decay=recipe.weight_decay / t)


defense = Distillation
