"""A Paper: its claims, its set-up and its figures, read from one TOML file that tests and docs share.

[paper]                       key, title, authors, url
[like]                        data set = the paper's data set whose set-up and figures go with it
[setup.DATASET.attacks.NAME]  parameters of the registered attack NAME, in ART's names
[setup.DATASET.NAME]          any other group of constants, one comment each
[scale.SCALE.attacks.NAME]    parameters that differ at a scale
[claims.ID]                   statement, where (in the paper)
[thresholds.DATASET]          what is asserted at `paper` scale on the paper's own data set; "any" for all
[figures.DATASET...]          the paper's figures, as shares (0.0 to 1.0)
[[contradicted]]              what our reproduction contradicts: claim, dataset, scale, measured, and whatever
                              else names the test (attack, step)
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_robust.errors import ClaimError


@dataclass(frozen=True)
class Paper:
    """One paper's file.

    Args:
        path: where it was read, for messages.
        data: its content.
    """

    path: Path
    data: Mapping[str, Any]

    @classmethod
    def read(cls, path: Path) -> Paper:
        """Read a paper's TOML file.

        Raises:
            ClaimError: it is missing, no TOML, or lacks what every paper's file has.
        """
        try:
            data = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise ClaimError(f"the claims file {path.name} cannot be read: {error.strerror}.") from error
        except tomllib.TOMLDecodeError as error:
            raise ClaimError(f"the claims file {path.name} is no TOML: {error}.") from error
        for table, key in (("paper", "key"), ("setup", None)):
            if table not in data or (key is not None and key not in data[table]):
                raise ClaimError(f"the claims file {path.name} lacks [{table}]{f' with {key!r}' if key else ''}.")
        return cls(path, data)

    @property
    def key(self) -> str:
        """The paper's short name, as in tables."""
        return str(self.data["paper"]["key"])

    def like(self, dataset: str) -> str:
        """The paper's own data set whose set-up and figures go with `dataset`; the first one for a stranger."""
        names: Mapping[str, str] = self.data.get("like", {})
        return names.get(dataset, next(iter(self.data["setup"])))

    def statement(self, claim: str) -> str:
        """What a claim says."""
        return str(self._get("claims", claim, "statement"))

    def setup(self, dataset: str, group: str) -> dict[str, Any]:
        """A group of the set-up's constants for `dataset`."""
        return dict(self._get("setup", self.like(dataset), group))

    def attack_params(self, dataset: str, scale: str, attack: str) -> dict[str, Any]:
        """Parameters of a registered attack for `dataset` at `scale`."""
        scaled = self.data.get("scale", {}).get(scale, {}).get("attacks", {}).get(attack, {})
        return {**self._get("setup", self.like(dataset), "attacks", attack), **scaled}

    def figure(self, dataset: str, *path: str) -> float:
        """One of the paper's figures, a share in 0.0 … 1.0."""
        return float(self._get("figures", self.like(dataset), *path))

    def figures(self, dataset: str, *path: str) -> list[float]:
        """All figures of one table, likewise, in the file's order."""
        return [self.figure(dataset, *path, name) for name in self._get("figures", self.like(dataset), *path)]

    def threshold(self, dataset: str, name: str) -> float | None:
        """A threshold that the paper itself gives for `dataset`; None on a data set it says nothing of."""
        found = self.data.get("thresholds", {}).get(dataset, {}).get(name)
        return None if found is None else float(found)

    def cite(self, dataset: str, *figures: float) -> str:
        """The paper's figures as people read them, with the data set they are for where it is another one."""
        own = self.like(dataset)
        suffix = "" if own == dataset else f" ({own})"
        # Two are a step from one to the other; more are a list.
        return (" → " if len(figures) == 2 else ", ").join(f"{100 * figure:.4g} %" for figure in figures) + suffix

    def contradiction(self, **where: Any) -> str | None:
        """The reason of the `contradicted` entry whose every key agrees with `where`; None if there is none."""
        for entry in self.data.get("contradicted", []):
            names = {k: v for k, v in entry.items() if k != "measured"}
            if all(where.get(k) == v for k, v in names.items()):
                return f"the reproduction contradicts the paper: measured {entry['measured']}"
        return None

    def _get(self, *path: str) -> Any:
        found: Any = self.data
        for step in path:
            if not isinstance(found, Mapping) or step not in found:
                raise ClaimError(f"the claims file {self.path.name} has no [{'.'.join(path)}]: add it there.")
            found = found[step]
        return found
