"""Decision regions and feature spaces, one panel a network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pytest_robust.models.classifier import Classifier
from pytest_robust.reports.canvas import COLOURS, new_figure, save_figure

#: Steps along each side of the grid on which decision regions are sampled.
GRID = 200
#: The dustbin's region.
DUSTBIN_COLOUR = "#bbbbbb"


def _panels(columns: int, title: str) -> tuple[Any, Any]:
    figure = new_figure(4.6 * columns, 4.4, title)
    return figure, figure.subplots(1, columns, squeeze=False)[0]


def draw_decision_regions(
    path: str | Path, networks: Mapping[str, Classifier], points: Tensor, labels: Tensor, classes: int
) -> Path:
    """Decision regions of classifiers of points in the unit square, side by side.

    Args:
        path: PNG file to write.
        networks: by title; each takes "images" of shape (N, 1, 1, 2); an output beyond `classes` is the dustbin.
        points: float (N, 2) in [0, 1], drawn over the regions.
        labels: int64 (N,); those equal to `classes` are out-distribution points.
        classes: number of real classes.
    """
    from matplotlib.colors import ListedColormap

    figure, axes = _panels(len(networks), "Decision regions on two moons (paper: Figure 2)")
    side = torch.linspace(0, 1, GRID)
    grid = torch.cartesian_prod(side, side)
    colours = [*COLOURS[:classes], DUSTBIN_COLOUR]
    for axis, (title, network) in zip(axes, networks.items(), strict=True):
        region = network.predict(grid.reshape(-1, 1, 1, 2), 1 << 14).reshape(GRID, GRID).T.cpu().numpy()
        axis.imshow(
            region,
            origin="lower",
            extent=(0, 1, 0, 1),
            cmap=ListedColormap(colours),
            vmin=0,
            vmax=classes,
            alpha=0.45,
            interpolation="nearest",
            aspect="equal",
        )
        for label in labels.unique().tolist():
            chosen = points[labels == label].numpy()
            name = "out-distribution" if label == classes else f"class {label}"
            axis.scatter(
                chosen[:, 0], chosen[:, 1], s=5, color=["black"] if label == classes else [colours[label]], label=name
            )
        axis.set_title(title, fontsize=10)
        axis.set_xticks([])
        axis.set_yticks([])
    figure.legend(*axes[-1].get_legend_handles_labels(), fontsize=8, loc="outside lower center", ncols=classes + 1)
    return save_figure(figure, path)


def draw_feature_spaces(
    path: str | Path, where: str, spaces: Mapping[str, Mapping[str, Tensor]], labels: Tensor
) -> Path:
    """Penultimate features of clean and adversarial images, one panel a network, projected on the plane.

    The plane is spanned by the first two principal components of the clean images' features, so that adversarial
    images cannot choose it.

    Args:
        path: PNG file to write.
        where: data set and scale, for the title.
        spaces: by network title; each maps the name of an image set ("clean" first) to features (N, F).
        labels: int64 (N,): true classes of the clean images, for their colours.
    """
    from sklearn.decomposition import PCA

    figure, axes = _panels(
        len(spaces), f"Penultimate features of clean and adversarial images, {where} (paper: Figure 4)"
    )
    markers = {"clean": "o", "fgsm": "x", "fgsm_targeted": "+"}
    for axis, (title, sets) in zip(axes, spaces.items(), strict=True):
        # Two components alone: a whole SVD's threads take a minute on a machine that is busy with something else.
        plane = PCA(2, random_state=0).fit(sets["clean"].cpu().double().numpy())
        for name, features in sets.items():
            flat = plane.transform(features.cpu().double().numpy())
            if name == "clean":
                colour: Any = np.asarray(COLOURS)[labels.numpy() % len(COLOURS)]
                # Over the adversaries, whose marks are larger and would hide them.
                axis.scatter(flat[:, 0], flat[:, 1], s=12, c=colour, marker="o", linewidths=0, zorder=3)
            else:
                shade = "black" if name == "fgsm" else "#d62728"
                mark = markers.get(name, ".")
                axis.scatter(flat[:, 0], flat[:, 1], s=16, c=shade, marker=mark, label=name, linewidths=0.6, alpha=0.45)
        axis.set_title(title, fontsize=10)
        axis.set_xticks([])
        axis.set_yticks([])
    figure.legend(
        *axes[-1].get_legend_handles_labels(),
        fontsize=8,
        loc="outside lower center",
        ncols=3,
        title="dots: clean, by class",
    )
    return save_figure(figure, path)
