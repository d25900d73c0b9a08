"""Histograms of several sets side by side, and those of perturbations: L1 norm, L2 norm and pixel values."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pytest_robust.errors import SettingsError
from pytest_robust.reports.canvas import COLOURS, new_figure, save_figure

#: Odd, so that of a range around zero one bin holds the zeros of both signs.
BINS = 51
#: A panel whose fullest bin holds this share of the values gets a logarithmic axis, or nothing else would be seen: most
#: pixels of a perturbation are not changed at all.
CROWDED = 0.25


def draw_perturbation_histograms(path: str | Path, title: str, perturbations: Mapping[str, Tensor]) -> Path:
    """L1 norms, L2 norms and pixel values of perturbations (Wang, Kunin & Pyron, section 2.2).

    Args:
        path: PNG file to write.
        title: over the panels.
        perturbations: by name of the set, x′ − x, float of shape (N, C, H, W); a set without images is left out.

    Raises:
        SettingsError: no set has an image.
    """
    flat = {name: delta.detach().cpu().flatten(1) for name, delta in perturbations.items() if len(delta)}
    panels = {
        "L1 norm": {name: delta.abs().sum(1) for name, delta in flat.items()},
        "L2 norm": {name: delta.norm(dim=1) for name, delta in flat.items()},
        "pixel value of the perturbation": {name: delta.flatten() for name, delta in flat.items()},
    }
    return draw_histograms(path, title, panels)


def draw_histograms(path: str | Path, title: str, panels: Mapping[str, Mapping[str, Tensor]]) -> Path:
    """Histograms, one panel a quantity; sets of different sizes compare, because the height is a share of the set.

    Args:
        path: PNG file to write.
        title: over the panels.
        panels: by what is counted, which labels the horizontal axis: values of shape (N,) by name of the set.

    Raises:
        SettingsError: a panel without values, or a value that is not finite.
    """
    figure = new_figure(4.2 * len(panels), 4.0, title)
    axes = figure.subplots(1, len(panels), squeeze=False)[0] if panels else []
    for axis, (label, sets) in zip(axes, panels.items(), strict=True):
        _draw(axis, label, {name: v.detach().cpu().flatten().float() for name, v in sets.items() if v.numel()})
    if not panels:
        raise SettingsError(f"{title}: there is nothing to draw, as no panel was given.")
    figure.legend(*axes[0].get_legend_handles_labels(), fontsize=8, loc="outside lower center", ncols=4)
    return save_figure(figure, path)


def _draw(axis: Any, label: str, sets: Mapping[str, Tensor]) -> None:
    low, high = _range(label, sets)
    edges = torch.linspace(low, high, BINS + 1, dtype=torch.float64).numpy()
    fullest = 0.0
    for number, (name, values) in enumerate(sets.items()):
        share = _counts(values, low, high) / values.numel()
        fullest = max(fullest, float(share.max()))
        colour = COLOURS[number % len(COLOURS)]
        axis.stairs(share.numpy(), edges, color=colour, fill=True, alpha=0.25)
        axis.stairs(share.numpy(), edges, color=colour, linewidth=1.4, label=f"{name} (n={values.numel():,})")
    axis.set_xlabel(label)
    axis.set_ylabel("share of the set")
    if fullest > CROWDED:
        axis.set_yscale("log")
        axis.set_ylabel("share of the set, logarithmic")


def _counts(values: Tensor, low: float, high: float) -> Tensor:
    # histc counts in the values' own type, and a float32 stops counting at 2^24.
    return torch.stack([torch.histc(part, BINS, low, high).double() for part in values.split(1 << 23)]).sum(0)


def _range(label: str, sets: Mapping[str, Tensor]) -> tuple[float, float]:
    """Common bins for all sets, a little wide where all values are one."""
    if not sets:
        raise SettingsError(f"there is no histogram of {label}: no set has a value.")
    low = min(float(values.min()) for values in sets.values())
    high = max(float(values.max()) for values in sets.values())
    if not -float("inf") < low <= high < float("inf"):
        raise SettingsError(f"there is no histogram of {label}: a value is not finite.")
    spare = 0.0 if high > low else max(abs(low), 1.0) / 2
    return low - spare, high + spare
