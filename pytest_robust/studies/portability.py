"""A PortabilityMatrix: whose adversarial images fool whom (Rozsa et al., Figure 3)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch
from tabulate import tabulate
from torch import Tensor

from pytest_robust.errors import SettingsError
from pytest_robust.evaluation.rate import Rate
from pytest_robust.studies.crossed import Crossed
from pytest_robust.studies.study import FamilyStudy


@dataclass(frozen=True, eq=False)
class PortabilityMatrix(FamilyStudy):
    """Of the images that fool one network, how many fool another.

    Args:
        family: its name.
        data: the images' name.
        networks: names of rows (crafted on) and of columns (tested on).
        groups: by network, the architecture it shares with others, or None.
        images: how many were attacked.
        k: by attack, int64 of shape (networks, networks): images that fool both; the diagonal is `n`.
        n: by attack, int64 of shape (networks,): images that fool the network they were made on.
        checks: by attack, the signs that it did not work, a sentence each.
    """

    STUDY: ClassVar = "portability matrix"
    SCHEMA: ClassVar = 1

    family: str
    data: str
    networks: tuple[str, ...]
    groups: Mapping[str, str | None]
    images: int
    k: Mapping[str, Tensor]
    n: Mapping[str, Tensor]
    checks: Mapping[str, tuple[str, ...]]

    @classmethod
    def from_crossed(cls, crossed: Crossed) -> Self:
        """From the numbers per image that a study has already made."""
        fools = {a: torch.stack([crossed.crafted[a][n].fools for n in crossed.networks]) for a in crossed.attacks}
        made = {a: torch.stack([crossed.crafted[a][n].success for n in crossed.networks]) for a in crossed.attacks}
        return cls(
            crossed.family,
            crossed.data,
            crossed.networks,
            crossed.groups,
            len(crossed.attacked),
            {attack: mask.sum(1) for attack, mask in fools.items()},
            {attack: mask.sum(1) for attack, mask in made.items()},
            {attack: crossed.checks(attack) for attack in crossed.attacks},
        )

    @property
    def attacks(self) -> tuple[str, ...]:
        """Names in order."""
        return tuple(self.k)

    def rate(self, attack: str, crafted_on: str, tested_on: str) -> Rate:
        """One cell, with its exact interval.

        Raises:
            SettingsError: no such attack or network.
        """
        for name, known in ((attack, self.attacks), (crafted_on, self.networks), (tested_on, self.networks)):
            if name not in known:
                raise SettingsError(f"the portability matrix has no {name!r}; it has {', '.join(known)}.")
        row, column = self.networks.index(crafted_on), self.networks.index(tested_on)
        return Rate(int(self.k[attack][row, column]), int(self.n[attack][row]))

    def share(self, attack: str) -> Tensor:
        """All cells, float64 of shape (networks, networks); NaN in the row of a network that nothing fooled."""
        n = self.n[attack][:, None]
        return torch.where(n > 0, self.k[attack].double() / n.clamp(min=1), math.nan)

    def table(self, style: str = "simple") -> str:
        """For each attack a row of each network it was crafted on, with the exact interval in every cell.

        Args:
            style: any of tabulate's table formats; "github" for the docs.
        """
        return "\n\n".join(self._table(attack, style) for attack in self.attacks)

    def _table(self, attack: str, style: str) -> str:
        rows = [[row, *(self._cell(attack, row, column) for column in self.networks)] for row in self.networks]
        return tabulate(rows, [f"{attack}, crafted on", *self.networks], tablefmt=style, disable_numparse=True)

    def _cell(self, attack: str, row: str, column: str) -> str:
        rate = self.rate(attack, row, column)
        if not rate.n:
            return "–"
        return f"{100 * rate.value:.1f} % ({100 * rate.lower:.1f}–{100 * rate.upper:.1f})"

    def as_dict(self) -> dict[str, Any]:
        """Plain data; JSON holds it."""
        return {
            "study": self.STUDY,
            "schema": self.SCHEMA,
            "family": self.family,
            "data": self.data,
            "networks": list(self.networks),
            "groups": dict(self.groups),
            "images": self.images,
            "k": {attack: counts.tolist() for attack, counts in self.k.items()},
            "n": {attack: counts.tolist() for attack, counts in self.n.items()},
            "checks": {attack: list(signs) for attack, signs in self.checks.items()},
        }

    @classmethod
    def _read(cls, plain: Mapping[str, Any]) -> Self:
        k, n = ({a: torch.tensor(c, dtype=torch.int64) for a, c in plain[name].items()} for name in ("k", "n"))
        checks = {attack: tuple(signs) for attack, signs in plain["checks"].items()}
        names, groups = tuple(plain["networks"]), dict(plain["groups"])
        return cls(plain["family"], plain["data"], names, groups, plain["images"], k, n, checks)
