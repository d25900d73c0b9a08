"""A Hardening: a defense that changes how networks are trained and nothing else, so that it goes with any recipe.

Adversarial training and distillation are hardenings: alone they defend one network, and an ensemble can train its
members by either of them.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from pytest_robust.bench.bench import Bench
from pytest_robust.bench.defense import Defense
from pytest_robust.errors import SettingsError
from pytest_robust.models.losses import CrossEntropy
from pytest_robust.models.recipe import Recipe
from pytest_robust.threats.defended import Defended, network_alone


@dataclass(frozen=True, repr=False)
class Hardening(Defense):
    """Base of the defenses that are a way of training.

    A subclass implements `_harden`. Of several recipes at once, because what they need beforehand (their teachers)
    can then be trained at the same time.
    """

    def fit(self, bench: Bench) -> Defended:
        """The bench's network, trained this way; decided by its largest logit, without rejection."""
        return network_alone(bench.train(self.recipe(bench)), self.title, base=bench.classifier)

    def recipe(self, bench: Bench) -> Recipe:
        """Of the network of `fit`."""
        return self.harden([bench.recipe(name=self.title)], bench)[0]

    def harden(self, recipes: Sequence[Recipe], bench: Bench) -> list[Recipe]:
        """The recipes with this way of training, in order; what that needs beforehand is trained on `bench`.

        Raises:
            SettingsError: a recipe has a loss of its own already, which would be lost.
        """
        for recipe in recipes:
            if not isinstance(recipe.loss, CrossEntropy) or recipe.companion is not None:
                raise SettingsError(
                    f"{self.title} replaces the loss of a recipe, but {recipe.title!r} has "
                    f"{type(recipe.loss).__name__} already: apply one way of training only."
                )
        return self._harden(list(recipes), bench)

    @abstractmethod
    def _harden(self, recipes: list[Recipe], bench: Bench) -> list[Recipe]:
        """As `harden`, of recipes whose loss is the plain cross-entropy."""

    def __repr__(self) -> str:
        """The title: an ensemble shows by it how its members are trained."""
        return self.title
