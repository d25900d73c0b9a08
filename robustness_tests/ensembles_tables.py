"""The ensembles paper's Tables 2 and 4 as this run measured them: Markdown beside the paper's figures, and bars."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ensembles_study import ATTACKS, COMPARED, METHODS, PAPER, EnsemblesStudy
from tabulate import tabulate

from pytest_robust.evaluation.rate import Rate
from pytest_robust.reports.bars import draw_bars

#: Rows of a table by title: cells by column.
Table = Mapping[str, Mapping[str, Rate]]
ROWS_2 = {"random_init": "Rand. Ini.", "mixed": "Mix. Mod.", "bagging": "Bagging", "noise": "Gauss Noise"}
COLUMNS_2 = {
    "clean_single": "no attack, single",
    "clean_ensemble": "no attack, ensemble",
    "grad_1_single": "Grad. 1, single",
    "grad_1_ensemble": "Grad. 1, ensemble",
    "grad_2_ensemble": "Grad. 2, ensemble",
}
ROWS_4 = {
    "bagging": "Bagging",
    "adversarial_training": "Adv. Train.",
    "distillation": "Def. Dist.",
    "bagging_adversarial_training": "Bagging + Adv. Train.",
    "bagging_distillation": "Bagging + Def. Dist.",
}
COLUMNS_4 = {"clean": "no attack", "fgsm": "FGSM", "bim": "BIM"}


def table_2(study: EnsemblesStudy, attack: str) -> Table:
    """Accuracies of one attack's half of Table 2, by method."""
    return {
        method: {
            "clean_single": study.clean_single(method).accuracy,
            "clean_ensemble": study.clean(method).accuracy,
            "grad_1_single": study.under_single(method, attack).accuracy,
            "grad_1_ensemble": study.under(method, attack, "grad_1").accuracy,
            "grad_2_ensemble": study.under(method, attack, "grad_2").accuracy,
        }
        for method in METHODS
    }


def table_4(study: EnsemblesStudy) -> Table:
    """Accuracies of Table 4, by defense."""
    return {
        name: {"clean": study.clean(name).accuracy, **{a: study.under(name, a).accuracy for a in ATTACKS}}
        for name in COMPARED
    }


def write_table_2(study: EnsemblesStudy, folder: Path, attack: str) -> tuple[Path, Path]:
    """One attack's half of Table 2, and of Figure 2."""
    name, title = f"ensembles-table-2-{attack}", f"Accuracy under {attack.upper()} (paper: Table 2, Figure 2)"
    return _write(study, folder / name, title, table_2(study, attack), attack, ROWS_2, COLUMNS_2)


def write_table_4(study: EnsemblesStudy, folder: Path) -> tuple[Path, Path]:
    """Table 4, where ensembles are attacked with Grad. 2."""
    title = "Ensembles beside other defenses (paper: Table 4)"
    return _write(study, folder / "ensembles-table-4", title, table_4(study), "table_4", ROWS_4, COLUMNS_4)


def _write(
    study: EnsemblesStudy,
    path: Path,
    title: str,
    table: Table,
    group: str,
    rows: Mapping[str, str],
    columns: Mapping[str, str],
) -> tuple[Path, Path]:
    """A Markdown table of cells "measured (the paper's)", and its bars; `group` is its name in the figures' file."""
    dataset = study.bench.settings.dataset

    def cell(row: str, column: str, rate: Rate) -> str:
        return f"{rate.value:.4f} ({PAPER.figure(dataset, group, row, column):.4f})"

    cells = [[rows[row], *(cell(row, key, rate) for key, rate in found.items())] for row, found in table.items()]
    text = tabulate(cells, ["", *columns.values()], tablefmt="github", disable_numparse=True)
    about = f"{title}, {dataset}, {len(study.bench.test_split)} images: measured (the paper's, {PAPER.like(dataset)})"
    page = path.with_suffix(".md")
    page.write_text(f"{about}\n\n{text}\n", encoding="utf-8")
    bars = {rows[row]: {columns[key]: rate for key, rate in found.items()} for row, found in table.items()}
    return page, draw_bars(path.with_suffix(".png"), title, bars, "accuracy")
