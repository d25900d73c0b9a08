"""What the passes of a randomised network answer for one image, a panel for each image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from pytest_robust.errors import SettingsError
from pytest_robust.reports.canvas import COLOURS, new_figure, save_figure

#: Of classes that are neither the original nor the target.
OTHERS = "#b0b0b0"


def draw_votes(
    path: str | Path, title: str, votes: Mapping[str, Tensor], classes: Sequence[str], original: int, target: int
) -> Path:
    """How many passes name each class (Wang, Kunin & Pyron, Figure 5).

    Args:
        path: PNG file to write.
        title: over the panels.
        votes: by panel, counts of shape (K,).
        classes: K names.
        original: the image's class, in blue.
        target: the class that it was perturbed towards, in orange.

    Raises:
        SettingsError: no panel, or counts of another number of classes.
    """
    if not votes or any(tuple(counts.shape) != (len(classes),) for counts in votes.values()):
        shapes = [tuple(counts.shape) for counts in votes.values()]
        raise SettingsError(f"votes for {len(classes)} classes have shape ({len(classes)},) in each panel: {shapes}.")
    named = {original: COLOURS[0], target: COLOURS[1]}
    figure = new_figure(4.5 * len(votes), 3.2, title)
    axes = figure.subplots(1, len(votes), squeeze=False, sharey=True)[0]
    for axis, (name, counts) in zip(axes, votes.items(), strict=True):
        colours = [named.get(k, OTHERS) for k in range(len(classes))]
        axis.bar(range(len(classes)), counts.tolist(), color=colours)
        axis.set_xticks(range(len(classes)), classes, rotation=90 if max(map(len, classes)) > 3 else 0)
        axis.set_title(name, fontsize=10)
        axis.set_xlabel(f"class (blue: {classes[original]}, original; orange: {classes[target]}, target)")
    axes[0].set_ylabel("passes")
    return save_figure(figure, path)
