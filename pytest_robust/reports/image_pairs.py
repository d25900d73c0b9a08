"""Images before and after something was done to them, a column each, with the difference below."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from pytest_robust.errors import SettingsError
from pytest_robust.gate.worst import WorstImages
from pytest_robust.reports.canvas import new_figure, save_figure

#: Inches of a column and of a row.
SIDE = 1.5


def draw_image_pairs(
    path: str | Path,
    title: str,
    before: Tensor,
    after: Tensor | None,
    captions: Sequence[str],
    names: tuple[str, str] = ("original", "perturbed"),
    legend: str = "",
) -> Path:
    """A column for each image: as it was, as it is, and the difference.

    Of the difference, blue takes away, red adds, white is zero, on one scale for all images; of several channels it is
    the mean. Pixels outside [0, 1] are shown as 0 or 1, but their difference is shown whole.

    Args:
        path: PNG file to write.
        title: over the picture.
        before: float of shape (n, C, H, W), n ≥ 1; three channels are colours, of others the mean is shown in grey.
        after: of the same shape; None draws the first row alone.
        captions: n texts, over the columns.
        names: of the first two rows.
        legend: below the picture: how to read the captions.

    Raises:
        SettingsError: there is no image, or the shapes or the number of captions do not fit.
    """
    _check(before, after, captions)
    n, rows = len(before), 1 if after is None else 3
    figure = new_figure(max(SIDE * n + 1, 6), SIDE * rows + 1.2, title)
    axes = figure.subplots(rows, n, squeeze=False)
    _row(axes[0], names[0], before)
    if after is not None:
        _row(axes[1], names[1], after)
        _differences(figure, axes[2], (after - before).mean(1))
    for axis, caption in zip(axes[0], captions, strict=True):
        axis.set_title(caption, fontsize=8)
    if legend:
        figure.supxlabel(legend, fontsize=9)
    return save_figure(figure, path)


def draw_worst_images(path: str | Path, title: str, worst: WorstImages) -> Path:
    """The images that a model is worst at: where they are in the data, their labels, and its answers to them.

    Args:
        path: PNG file to write.
        title: over the picture.
        worst: at least one image.

    Raises:
        SettingsError: there is no image.
    """
    captions = [caption.replace(": ", ":\n") for caption in worst.captions]
    legend = "#position in the data, is its label: the answer" + ("" if worst.attacked is None else " → when attacked")
    return draw_image_pairs(path, title, worst.clean, worst.attacked, captions, ("as it is", "attacked"), legend)


def _check(before: Tensor, after: Tensor | None, captions: Sequence[str]) -> None:
    if not len(before):
        raise SettingsError("a picture of images needs at least one.")
    if before.ndim != 4 or len(captions) != len(before) or (after is not None and after.shape != before.shape):
        other = "" if after is None else f" and {tuple(after.shape)}"
        raise SettingsError(
            "a picture of images needs one caption for each, and shapes (n, C, H, W) that are alike, not "
            f"{len(captions)} captions for {tuple(before.shape)}{other}."
        )


def _row(axes: Any, name: str, images: Tensor) -> None:
    for axis, image in zip(axes, images.detach().cpu().clamp(0, 1), strict=True):
        if len(image) == 3:
            axis.imshow(image.permute(1, 2, 0).numpy(), interpolation="nearest")
        else:
            axis.imshow(image.mean(0).numpy(), "gray", vmin=0, vmax=1, interpolation="nearest")
        _bare(axis)
    axes[0].set_ylabel(name, fontsize=9)


def _differences(figure: Any, axes: Any, signed: Tensor) -> None:
    limit = float(signed.abs().max()) or 1.0
    for axis, difference in zip(axes, signed.detach().cpu(), strict=True):
        drawn = axis.imshow(difference.numpy(), "RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest")
        _bare(axis)
    axes[0].set_ylabel("difference", fontsize=9)
    figure.colorbar(drawn, ax=list(axes), shrink=0.9)


def _bare(axis: Any) -> None:
    axis.set_xticks([])
    axis.set_yticks([])
