"""Matrices as colours with their numbers in the cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from pytest_robust.errors import SettingsError
from pytest_robust.reports.canvas import named_ticks, new_figure, save_figure

#: Even in lightness, the same for colour-blind readers.
COLOUR_MAP = "cividis"
#: Rows or columns of a matrix whose cells show their numbers; more of them share the room of so many.
MOST_NUMBERED = 30
#: Inches of a cell with a number.
CELL = 0.52


def draw_heat_maps(
    path: str | Path,
    title: str,
    matrices: Mapping[str, Tensor],
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    row_label: str,
    column_label: str,
    limits: tuple[float, float] = (0.0, 1.0),
    figure_format: str = ".2f",
) -> Path:
    """Matrices side by side on one colour scale; one of more than `MOST_NUMBERED` rows or columns has no numbers.

    Args:
        path: PNG file to write.
        title: over the panels.
        matrices: float of shape (R, C) each, by panel title; a NaN is an empty cell and stays blank.
        rows, columns: R and C names.
        row_label, column_label: what the rows and the columns are.
        limits: values of the darkest and the lightest colour; those beyond get the nearest of the two.
        figure_format: Python's format of the numbers in the cells.

    Raises:
        SettingsError: no matrix, or one of another shape.
    """
    expected = (len(rows), len(columns))
    wrong = [name for name, matrix in matrices.items() if tuple(matrix.shape) != expected]
    if wrong or not matrices:
        raise SettingsError(f"{title}: every matrix must be of shape {expected}, unlike {', '.join(wrong) or 'none'}.")
    figure = new_figure(*_size(rows, columns, len(matrices)), title)
    axes = figure.subplots(1, len(matrices), squeeze=False)[0]
    for axis, (name, matrix) in zip(axes, matrices.items(), strict=True):
        drawn = axis.imshow(matrix.detach().cpu().double().numpy(), COLOUR_MAP, vmin=limits[0], vmax=limits[1])
        if max(expected) <= MOST_NUMBERED:
            _print_numbers(axis, drawn, matrix, figure_format)
        rotation = 90 if max(map(len, columns)) > 3 else 0
        axis.set_xticks(*named_ticks(columns, _side(len(columns))), rotation=rotation)
        axis.set_yticks(*named_ticks(rows, _side(len(rows))))
        axis.set_xlabel(column_label)
        axis.set_ylabel(row_label)
        axis.set_title(name, fontsize=10)
    figure.colorbar(drawn, ax=list(axes), shrink=0.8)
    return save_figure(figure, path)


def _size(rows: Sequence[str], columns: Sequence[str], panels: int) -> tuple[float, float]:
    names = 0.08 * max(map(len, [*rows, *columns]))
    return panels * (_side(len(columns)) + names + 0.8) + 1.2, _side(len(rows)) + names + 1.4


def _side(cells: int) -> float:
    return CELL * min(cells, MOST_NUMBERED)


def _print_numbers(axis: Any, drawn: Any, matrix: Tensor, figure_format: str) -> None:
    for i, row in enumerate(matrix.tolist()):
        for j, value in enumerate(row):
            if value == value:
                axis.text(j, i, format(value, figure_format), **_style(drawn, value))


def _style(drawn: Any, value: float) -> dict[str, Any]:
    red, green, blue, _ = drawn.cmap(drawn.norm(value))
    bright = 0.299 * red + 0.587 * green + 0.114 * blue > 0.5  # luma of ITU-R BT.601
    return {"ha": "center", "va": "center", "fontsize": 8, "color": "black" if bright else "white"}
