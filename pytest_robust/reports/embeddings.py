"""t-SNE maps of the same points in several feature spaces, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from pytest_robust.errors import SettingsError
from pytest_robust.reports.canvas import COLOURS, new_figure, save_figure

#: t-SNE of more takes minutes and shows no more; others are left out and the title says so.
MOST_POINTS = 2000
#: scikit-learn's default; it must be smaller than the number of points.
PERPLEXITY = 30.0
_COLOURS, _MARKERS = (COLOURS[0], COLOURS[5], COLOURS[2], COLOURS[3]), "ox^+"


def draw_embeddings(
    path: str | Path, title: str, spaces: Mapping[str, Tensor], labels: Tensor, names: Sequence[str], seed: int
) -> Path:
    """t-SNE (van der Maaten & Hinton, JMLR 9, 2008) of points in each space (Monteiro et al., Figure 4).

    Distances and sizes of clusters in a t-SNE map mean little: it shows whether groups mix, `silhouette` how much.

    Args:
        path: PNG file to write.
        title: over the panels.
        spaces: by panel title, float of shape (N, …): the same N points in the same order, in each space.
        labels: int64 or bool of shape (N,): which of the groups each point is of.
        names: of the groups, in the order of their numbers; four at most.
        seed: draws `MOST_POINTS` where there are more, and starts t-SNE.

    Raises:
        SettingsError: the numbers of points differ, there are too few, or all points of a space are one.
    """
    n = len(labels)
    if any(len(features) != n for features in spaces.values()) or n < 4 or not 1 <= len(names) <= len(_MARKERS):
        raise SettingsError(f"{title}: t-SNE needs the same 4 points or more in every space, in four groups at most.")
    chosen = torch.randperm(n, generator=torch.Generator().manual_seed(seed))[:MOST_POINTS]
    shown = f"{len(chosen):,} of {n:,} points, drawn at random" if len(chosen) < n else f"{n:,} points"
    figure = new_figure(4.8 * len(spaces), 5.0, f"{title}\n(t-SNE, {shown})")
    axes = figure.subplots(1, len(spaces), squeeze=False)[0]
    groups = labels.cpu()[chosen].long()
    for axis, (name, features) in zip(axes, spaces.items(), strict=True):
        flat = _embedded(name, features.detach().cpu()[chosen].flatten(1).double(), seed)
        for number, group in enumerate(names):
            at = flat[groups == number]
            style = {"s": 12, "alpha": 0.6, "linewidths": 0.8, "color": _COLOURS[number], "marker": _MARKERS[number]}
            axis.scatter(at[:, 0], at[:, 1], label=group, **style)
        axis.set_title(name, fontsize=10)
        axis.set_xticks([])
        axis.set_yticks([])
    figure.legend(*axes[0].get_legend_handles_labels(), fontsize=9, loc="outside lower center", ncols=len(names))
    return save_figure(figure, path)


def _embedded(name: str, points: Tensor, seed: int) -> Tensor:
    from sklearn.manifold import TSNE

    if not torch.isfinite(points).all() or bool((points == points[0]).all()):
        raise SettingsError(f"{name}: t-SNE needs finite points that are not all one.")
    perplexity = min(PERPLEXITY, (len(points) - 1) / 3)
    # A start from the principal components keeps the large structure and needs no luck.
    embedding = TSNE(2, perplexity=perplexity, init="pca", random_state=seed)
    return torch.from_numpy(embedding.fit_transform(points.numpy()))
