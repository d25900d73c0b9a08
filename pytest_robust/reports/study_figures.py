"""The figures of the studies of several networks: metric bars and the portability heat map."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pytest_robust.errors import SettingsError
from pytest_robust.evaluation.verdict import Interval
from pytest_robust.reports.bars import draw_bar_panels
from pytest_robust.reports.heat_maps import draw_heat_maps
from pytest_robust.studies.portability import PortabilityMatrix
from pytest_robust.studies.ranking import RobustnessRanking
from pytest_robust.studies.study import FamilyStudy

#: The panels: names of `METRICS` and labels of their axes. PASS and success as Figure 2 (a), sizes as (b).
PANELS = {
    "pass_score": "mean PASS",
    "success": "attack success rate",
    "linf": "mean L∞ (pixel levels)",
    "l2": "mean L2 (pixel levels)",
}


def draw_ranking(path: str | Path, ranking: RobustnessRanking) -> Path:
    """PASS, success, L∞ and L2 of each network and attack with their intervals (Rozsa, Günther & Boult, Figure 2).

    The networks stand from the least to the most accurate one, their clean accuracy under their names.

    Args:
        path: PNG file to write.
        ranking: what is drawn.

    Raises:
        SettingsError: `ranking` is none.
    """
    _check(ranking, RobustnessRanking, "draw_ranking")
    attacked = f"{ranking.images} of {ranking.all_images} images attacked"
    title = f"{ranking.family} on {ranking.data}, {attacked}: smallest adversarial steps"
    return draw_bar_panels(path, title, {label: _bars(ranking, metric) for metric, label in PANELS.items()}, columns=2)


def _bars(ranking: RobustnessRanking, metric: str) -> Mapping[str, Mapping[str, Interval]]:
    return {
        f"{network}\n{100 * ranking.accuracy[network].value:.1f} %": {
            attack: ranking.entry(attack, network).figures[metric] for attack in ranking.attacks
        }
        for network in ranking.networks
    }


def draw_portability(path: str | Path, matrix: PortabilityMatrix) -> Path:
    """Shares of one network's adversarial images that fool another, a panel for each attack (Rozsa et al., Figure 3).

    Unlike in the paper's figure, rows are what they were crafted on.

    Args:
        path: PNG file to write.
        matrix: what is drawn, in percent.

    Raises:
        SettingsError: `matrix` is none.
    """
    _check(matrix, PortabilityMatrix, "draw_portability")
    return draw_heat_maps(
        path,
        f"{matrix.family} on {matrix.data}: adversarial images that fool another network, percent",
        {attack: 100 * matrix.share(attack) for attack in matrix.attacks},
        matrix.networks,
        matrix.networks,
        row_label="crafted on",
        column_label="tested on",
        limits=(0.0, 100.0),
        figure_format=".0f",
    )


def _check(study: object, kind: type[FamilyStudy], draws: str) -> None:
    if not isinstance(study, kind):
        raise SettingsError(f"{draws} draws a {kind.__name__}, not a {type(study).__name__}: make one by its .of(…).")
