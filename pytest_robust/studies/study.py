"""A FamilyStudy: what compares the networks of a family, made from the numbers per image of all of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Self

from torch import nn

from pytest_robust.attacks.attack import Attack
from pytest_robust.bench.bench import Bench
from pytest_robust.data.images import Images
from pytest_robust.models.family import Family
from pytest_robust.studies.crossed import Crossed, cross


class FamilyStudy(ABC):
    """Adversarial images of every network of a family, seen from one side."""

    @classmethod
    def of(
        cls,
        family: str | Family | Mapping[str, nn.Module],
        images: Images,
        attacks: str | Attack | Sequence[str | Attack],
        bench: Bench,
        *,
        limit: int | None = None,
    ) -> Self:
        """Attack every network of a family on the images that all of them classify correctly.

        Args:
            family: a registered name, ``FILE.py:FUNCTION``, a `Family`, or networks by name.
            images: a `Split` or an `ImageFolder`.
            attacks: one or several, each a registered name or an attack; those for the smallest perturbation (``fgs``)
                make sense.
            bench: attacks and keeps the numbers.
            limit: at most so many images are attacked, drawn at random; None is all.

        Raises:
            FamilyError, SettingsError, AttackError, ModelError: as `cross` raises them.
        """
        return cls.from_crossed(cross(family, images, attacks, bench, limit=limit))

    @classmethod
    @abstractmethod
    def from_crossed(cls, crossed: Crossed) -> Self:
        """From the numbers per image that a study has already made."""
