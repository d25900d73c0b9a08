"""Statistics of perturbations side by side: one column a set of adversarial images, as in a paper's table."""

from __future__ import annotations

from collections.abc import Mapping

from tabulate import tabulate

from pytest_robust.errors import SettingsError
from pytest_robust.evaluation.perturbation_stats import PerturbationStats


def perturbation_table(columns: Mapping[str, PerturbationStats], style: str = "simple") -> str:
    """Rows are statistics, columns are sets by title (Wang, Kunin & Pyron, Table 1).

    Args:
        columns: statistics by column title, in order.
        style: any of tabulate's table formats; "github" for the docs.

    Raises:
        SettingsError: no columns.
    """
    if not columns:
        raise SettingsError("a table of perturbations needs at least one set of adversarial images.")
    listed = [stats.rows() for stats in columns.values()]
    rows = [
        [quantity, statistic, *(rows[i][2] for rows in listed)] for i, (quantity, statistic, _) in enumerate(listed[0])
    ]
    return tabulate(rows, ["", "", *columns], tablefmt=style, disable_numparse=True)
