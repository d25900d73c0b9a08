"""A FamilyStudy: what compares the networks of a family, made from the numbers per image of all of them."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

from torch import nn

from pytest_robust.attacks.attack import Attack
from pytest_robust.bench.bench import Bench
from pytest_robust.data.images import Images
from pytest_robust.errors import SettingsError
from pytest_robust.models.family import Family
from pytest_robust.studies.crossed import Crossed, cross


class FamilyStudy(ABC):
    """Adversarial images of every network of a family, seen from one side.

    A kind of study writes its name and the version of its fields into `as_dict`, and reads back no other.
    """

    STUDY: ClassVar[str]
    SCHEMA: ClassVar[int]

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
            limit: at most so many images are attacked, drawn at random from those that all networks classify correctly,
                for which all images are classified first; None is all.

        Raises:
            FamilyError, SettingsError, AttackError, ModelError: as `cross` raises them.
        """
        return cls.from_crossed(cross(family, images, attacks, bench, limit=limit))

    @classmethod
    @abstractmethod
    def from_crossed(cls, crossed: Crossed) -> Self:
        """From the numbers per image that a study has already made."""

    @abstractmethod
    def as_dict(self) -> dict[str, Any]:
        """Plain data with every figure; JSON holds it."""

    @classmethod
    @abstractmethod
    def _read(cls, plain: Mapping[str, Any]) -> Self:
        """The study that `as_dict` wrote; KeyError, TypeError, AttributeError or ValueError where it is none."""

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Self:
        """The study that `as_dict` wrote.

        Raises:
            SettingsError: it is no such study, or of another version.
        """
        found = {name: plain.get(name) if isinstance(plain, Mapping) else None for name in ("study", "schema")}
        if found["study"] != cls.STUDY:
            raise SettingsError(f"this is no {cls.STUDY} (study: {found['study']!r}): give what its as_dict wrote.")
        if found["schema"] != cls.SCHEMA:
            raise SettingsError(
                f"this {cls.STUDY} is of schema {found['schema']!r}, and this version of pytest-robust reads "
                f"{cls.SCHEMA}: make it again, or read it with the version that wrote it."
            )
        try:
            return cls._read(plain)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise SettingsError(f"this is no {cls.STUDY} ({error!r}): give what its as_dict wrote.") from error

    def to_json(self, path: str | Path) -> Path:
        """Write `as_dict` as the file `path`, in a folder that is made if it is not there."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(self.as_dict(), indent=1, ensure_ascii=False, allow_nan=False)
        path.write_text(text + "\n", "utf-8")
        return path

    @classmethod
    def from_json(cls, path: str | Path) -> Self:
        """The study in the file `path`.

        Raises:
            SettingsError: there is no such file, or it holds no such study.
        """
        try:
            plain = json.loads(Path(path).read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise SettingsError(f"{path} holds no {cls.STUDY} ({error}): give a file that to_json wrote.") from error
        return cls.from_dict(plain)
