"""K × K grids of mean images and of mean perturbations by (original, target) class."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pytest_robust.errors import SettingsError
from pytest_robust.reports.canvas import new_figure, save_figure

#: Between the cells, and where no image is of that pair.
GROUND = "#d9d9d9"
#: Share of the pixels whose mean perturbation the scale spans: a few of a pair with few images would fade all others.
SPANNED = 0.995


def draw_mean_images(path: str | Path, title: str, means: Tensor, classes: Sequence[str]) -> Path:
    """Mean adversarial images by original class (rows) and target class (columns) (Wang, Kunin & Pyron, Figure 1).

    Args:
        path: PNG file to write.
        title: over the grid.
        means: float of shape (K, K, C, H, W), C of 1 or 3, in [0, 1], as `pair_means` gives them; a cell of NaN is
            blank. The diagonal may hold the classes' mean clean images.
        classes: K names.

    Raises:
        SettingsError: another shape.
    """
    _check(means, classes)
    figure = new_figure(*_size(means, 1), title)
    axis = figure.subplots()
    axis.imshow(_rgba(means.clamp(0, 1)), interpolation="nearest")
    _frame(axis, means, classes)
    return save_figure(figure, path)


def draw_mean_perturbations(path: str | Path, title: str, means: Tensor, classes: Sequence[str]) -> Path:
    """Mean perturbations by original class (rows) and target class (columns), on one scale for all cells.

    Blue takes away, red adds, white is zero. Of colour images the first panel shows the mean over the channels, and a
    second one the channels' absolute values as red, green and blue (Wang, Kunin & Pyron, Figure 4). Values beyond the
    scale, half a per cent of the pixels, get its last colour.

    Args:
        path: PNG file to write.
        title: over the grid.
        means: float of shape (K, K, C, H, W), C of 1 or 3, as `pair_means` gives them; a cell of NaN is blank.
        classes: K names.

    Raises:
        SettingsError: another shape.
    """
    _check(means, classes)
    colour = means.shape[2] == 3
    figure = new_figure(*_size(means, 1 + colour), title)
    axes = figure.subplots(1, 1 + colour, squeeze=False)[0]
    signed = means.mean(2, keepdim=True)
    limit = _scale(signed)
    drawn = axes[0].imshow(_mosaic(signed)[0].numpy(), "RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest")
    _frame(axes[0], means, classes)
    label = "mean perturbation" + colour * ", mean over channels"
    figure.colorbar(drawn, ax=axes[0], label=label, shrink=0.8, extend="both")
    if colour:
        brightest = _scale(means)
        axes[1].imshow(_rgba((means.abs() / brightest).clamp(max=1)), interpolation="nearest")
        axes[1].set_title(f"absolute value by channel (brightest: {brightest:.2g} and more)", fontsize=10)
        _frame(axes[1], means, classes)
    return save_figure(figure, path)


def _check(means: Tensor, classes: Sequence[str]) -> None:
    k = len(classes)
    if means.ndim != 5 or tuple(means.shape[:2]) != (k, k) or means.shape[2] not in (1, 3):
        raise SettingsError(
            f"a grid of {k} classes needs means of shape ({k}, {k}, C, H, W) with 1 or 3 channels, "
            f"not {tuple(means.shape)}."
        )


def _size(means: Tensor, panels: int) -> tuple[float, float]:
    side = max(5.0, 0.8 * len(means))
    return (side + 1.6) * panels, side + 0.8


def _scale(means: Tensor) -> float:
    """The absolute mean that `SPANNED` of the pixels stay within; 1 of nothing but zeros and empty cells."""
    present = means[~means.isnan()].abs().sort().values
    return (float(present[math.ceil(SPANNED * len(present)) - 1]) or float(present[-1]) or 1.0) if len(present) else 1.0


def _mosaic(means: Tensor) -> Tensor:
    """(K, K, C, H, W) as one image (C, K·(H + gap) − gap, K·(W + gap) − gap); gaps are NaN."""
    gap = _gap(means)
    tiles = torch.nn.functional.pad(means.double(), (0, gap, 0, gap), value=torch.nan)
    image = tiles.permute(2, 0, 3, 1, 4).flatten(3).flatten(1, 2)
    return image[:, :-gap, :-gap]


def _gap(means: Tensor) -> int:
    return max(1, means.shape[-1] // 12)


def _rgba(means: Tensor) -> Any:
    image = _mosaic(means)
    shown = image.expand(3, -1, -1) if len(image) == 1 else image
    opaque = (~shown.isnan().any(0, keepdim=True)).double()
    return torch.cat([shown.nan_to_num(), opaque]).permute(1, 2, 0).numpy()


def _frame(axis: Any, means: Tensor, classes: Sequence[str]) -> None:
    """Class names at the cells; gaps and empty cells are transparent and show the ground."""
    h, w = means.shape[-2] + _gap(means), means.shape[-1] + _gap(means)
    axis.set_facecolor(GROUND)
    middle = torch.arange(len(classes))
    long = max(map(len, classes)) > 3
    axis.set_xticks((middle * w + means.shape[-1] / 2 - 0.5).tolist(), classes, rotation=90 if long else 0)
    axis.set_yticks((middle * h + means.shape[-2] / 2 - 0.5).tolist(), classes)
    axis.tick_params(length=0)
    axis.set_xlabel("target class")
    axis.set_ylabel("original class")
