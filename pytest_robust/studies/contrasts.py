"""Contrasts of portabilities: means over cells of the matrix, compared by the bootstrap over images.

A cell's images are partly those of every other cell, so that no formula for independent rates holds; a draw of images
takes them into all cells at once.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pytest_robust.errors import SettingsError
from pytest_robust.evaluation.bootstrap import bootstrap, everybody, percentile_interval
from pytest_robust.evaluation.estimate import Estimate
from pytest_robust.studies.crossed import Crossed

#: (crafted on, tested on), by position among the networks.
Cell = tuple[int, int]


def elsewhere(crossed: Crossed) -> list[Cell]:
    """All cells off the diagonal."""
    size = len(crossed.networks)
    return [(i, j) for i in range(size) for j in range(size) if i != j]


def within_groups(crossed: Crossed) -> list[Cell]:
    """The cells of two networks that share an architecture."""
    group = [crossed.groups.get(network) for network in crossed.networks]
    return [(i, j) for i, j in elsewhere(crossed) if group[i] is not None and group[i] == group[j]]


def across_groups(crossed: Crossed) -> list[Cell]:
    """The other cells off the diagonal."""
    inside = set(within_groups(crossed))
    return [cell for cell in elsewhere(crossed) if cell not in inside]


def mean_portability(crossed: Crossed, attack: str, cells: Sequence[Cell]) -> Estimate:
    """Mean share over the cells; raises SettingsError of no cell."""
    return _estimated(crossed, [(1.0, attack, cells)], worst=(0.0, 1.0))


def more_portable(crossed: Crossed, first: tuple[str, Sequence[Cell]], second: tuple[str, Sequence[Cell]]) -> Estimate:
    """Mean share over the first (attack, cells) minus that over the second; raises SettingsError of no cell."""
    return _estimated(crossed, [(1.0, *first), (-1.0, *second)], worst=(-1.0, 1.0))


def _estimated(
    crossed: Crossed, terms: Sequence[tuple[float, str, Sequence[Cell]]], worst: tuple[float, float]
) -> Estimate:
    if not all(cells for _, _, cells in terms):
        raise SettingsError("a mean over no cell of a portability matrix says nothing: check the networks' groups.")

    def statistic(weights: Tensor) -> Tensor:
        values = [sign * _mean_share(crossed, attack, cells, weights) for sign, attack, cells in terms]
        return torch.stack(values).sum(0)

    images = len(crossed.attacked)
    value = float(statistic(everybody(images))[0])
    drawn = bootstrap(statistic, images, seed=crossed.seed)
    return percentile_interval(value, drawn, _fewest(crossed, terms), worst=worst)


def _fewest(crossed: Crossed, terms: Sequence[tuple[float, str, Sequence[Cell]]]) -> int:
    """Images behind the smallest share: those that fool the network of its row."""
    rows = {(attack, crossed.networks[i]) for _, attack, cells in terms for i, _ in cells}
    return min(int(crossed.crafted[attack][network].success.sum()) for attack, network in rows)


def _mean_share(crossed: Crossed, attack: str, cells: Sequence[Cell], weights: Tensor) -> Tensor:
    """Of shape (draws,); NaN where nothing fooled a network in a draw."""
    made = [crossed.crafted[attack][network] for network in crossed.networks]
    rows = {i for i, _ in cells}
    shares = {i: (weights @ made[i].fools.double()) / (weights @ made[i].success.double())[:, None] for i in rows}
    return torch.stack([shares[i][:, j] for i, j in cells]).mean(0)
