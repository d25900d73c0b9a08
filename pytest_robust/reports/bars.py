"""Figures with their intervals as bars, by method and by setting."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pytest_robust.errors import SettingsError
from pytest_robust.evaluation.verdict import Interval
from pytest_robust.reports.canvas import COLOURS, named_ticks, new_figure, save_figure

#: Share of a setting's width that its bars fill.
FILLED = 0.82
#: About the width of a character of a setting's name, in inches.
CHARACTER = 0.09
#: Inches of a picture; panels that would need more stand below each other, and their bars become thinner.
WIDEST = 40.0

#: Figures by setting, then by method.
Settings = Mapping[str, Mapping[str, Interval]]


def draw_bars(path: str | Path, title: str, settings: Settings, label: str) -> Path:
    """One group of bars a setting, one bar a method, its interval as an error bar (as Table 2 of Strauss et al.).

    Args:
        path: PNG file to write.
        title: over the bars.
        settings: by setting, then by method: a figure with `value`, `lower` and `upper`. A method that a setting lacks,
            and a value of NaN, leave a gap; an end that is not finite leaves out the error bar.
        label: of the vertical axis.

    Raises:
        SettingsError: no figures.
    """
    return draw_bar_panels(path, title, {label: settings})


def draw_bar_panels(path: str | Path, title: str, panels: Mapping[str, Settings], columns: int = 1) -> Path:
    """Several such diagrams of the same settings and methods in one picture (as Figure 2 of Rozsa et al.).

    Args:
        path: PNG file to write.
        title: over all panels.
        panels: by the label of the vertical axis: what `draw_bars` takes.
        columns: panels beside each other, where a picture of `WIDEST` inches has room for them.

    Raises:
        SettingsError: no figures.
    """
    methods = list(dict.fromkeys(m for settings in panels.values() for figures in settings.values() for m in figures))
    if not methods:
        raise SettingsError(f"{title}: there are no figures to draw.")
    groups = max(map(len, panels.values()))
    width = min(WIDEST, max(6.0, 1.2 + 0.32 * (len(methods) + 1) * groups))
    columns = min(columns, int(WIDEST / width))
    rows = math.ceil(len(panels) / columns)
    figure = new_figure(width * columns, 4.6 * rows, title)
    axes = figure.subplots(rows, columns, squeeze=False).flatten()
    for axis in axes[len(panels) :]:
        axis.set_visible(False)
    for axis, (label, settings) in zip(axes, panels.items(), strict=False):
        _draw_panel(axis, methods, settings, label, width)
    if len(methods) > 1:
        _legend(figure, axes[0], len(methods))
    return save_figure(figure, path)


def _draw_panel(axis: Any, methods: Sequence[str], settings: Settings, label: str, inches: float) -> None:
    width = FILLED / len(methods)
    for number, method in enumerate(methods):
        offset = (number + 0.5) * width - FILLED / 2
        present = [(i + offset, figures[method]) for i, figures in enumerate(settings.values()) if method in figures]
        _draw(axis, method, [(x, f) for x, f in present if math.isfinite(f.value)], width, COLOURS[number % 10])
    _name(axis, list(settings), inches)
    axis.margins(x=0.02)
    axis.set_ylabel(label)
    axis.grid(axis="y", alpha=0.3)
    axis.set_axisbelow(True)


def _legend(figure: Any, axis: Any, methods: int) -> None:
    figure.legend(*axis.get_legend_handles_labels(), fontsize=9, loc="outside lower center", ncols=min(5, methods))


def _name(axis: Any, settings: Sequence[str], inches: float) -> None:
    """Names that are too wide for the room of their bars are turned; some are left out where even so not all fit."""
    lines = [line for name in settings for line in name.split("\n")]
    if max(map(len, lines)) * CHARACTER < inches / len(settings):
        axis.set_xticks(range(len(settings)), settings)
        return
    # Turned by 30 degrees, a line is twice as wide along the axis as it is high.
    along = 2 * math.ceil(len(lines) / len(settings))
    axis.set_xticks(*named_ticks(settings, inches / along), rotation=30, ha="right")


def _draw(axis: Any, method: str, bars: list[tuple[float, Interval]], width: float, colour: str) -> None:
    axis.bar([x for x, _ in bars], [f.value for _, f in bars], width * 0.94, color=colour, label=method)
    known = [(x, f) for x, f in bars if math.isfinite(f.lower) and math.isfinite(f.upper)]
    ends = [[f.value - f.lower for _, f in known], [f.upper - f.value for _, f in known]]
    axis.errorbar([x for x, _ in known], [f.value for _, f in known], ends, fmt="none", ecolor="black", capsize=2, lw=1)
