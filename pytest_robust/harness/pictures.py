"""Pictures of the images that a model is worst at, in the report folder, beside the text that lists them."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_robust.gate.worst import WorstImages


def picture_of(folder: Path | None, where: str, title: str, worst: Callable[[], WorstImages]) -> str:
    """Draw the worst images; the name of the file, or "" where no folder takes a report.

    Args:
        folder: for the report.
        where: what the file is named after: unlike a title, the place of a test is there once.
        title: over the picture.
        worst: gives the images.
    """
    if folder is None:
        return ""
    from pytest_robust.reports.image_pairs import draw_worst_images

    name = re.sub(r"[^A-Za-z0-9._]+", "-", where).strip("-")
    return draw_worst_images(folder / f"worst-{name}.png", title, worst()).name
