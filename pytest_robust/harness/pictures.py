"""Pictures of the images that a model is worst at, in the report folder, beside the text that lists them."""

from __future__ import annotations

import hashlib
import json
import re
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_robust.gate.worst import WorstImages

#: Characters of a file's name (ours): file systems take 255 bytes, archives and their readers often fewer.
LONGEST = 100
#: What a picture is called: its own name, and never a path out of the folder.
OURS = re.compile(r"worst-[A-Za-z0-9._-]+\.png")
#: Lists the pictures of a run; `reports.results`, which writes it, says so too.
RESULTS = "results.json"


@dataclass(frozen=True)
class Picture:
    """A picture that was drawn, or why it was not.

    Args:
        name: of the file in the report folder; "" where there is none.
        problem: a sentence; "" where there is none.
    """

    name: str = ""
    problem: str = ""


def picture_of(folder: Path | None, where: str, title: str, worst: Callable[[], WorstImages]) -> Picture:
    """Draw the worst images, if there is a folder for reports; one that cannot be drawn changes no test's outcome.

    Args:
        folder: for the report.
        where: what the file is named after: unlike a title, the place of a test is there once.
        title: over the picture.
        worst: gives the images.
    """
    if folder is None:
        return Picture()
    from pytest_robust.reports.image_pairs import draw_worst_images

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a glyph that a font has not, say
            return Picture(draw_worst_images(folder / f"worst-{file_name(where)}.png", title, worst()).name)
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        return Picture(problem=f"the worst images cannot be drawn into {folder} ({reason}).")


def pictures_of(folder: Path) -> set[str]:
    """Names of the pictures of worst images that the ``results.json`` in the folder lists; none where it has none."""
    try:
        document = json.loads((folder / RESULTS).read_text(encoding="utf-8"))
        rows = [*document["requirements"], *document["results"]]
        names = {str(row.get("picture")) for row in rows}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # there is none, or it is not ours
        return set()
    return {name for name in names if OURS.fullmatch(name)}


def remove_pictures(folder: Path, names: set[str]) -> None:
    """Delete pictures of an earlier run from the folder; one that cannot be deleted stays."""
    for name in names:
        with suppress(OSError):
            (folder / name).unlink()


def file_name(where: str) -> str:
    """A name for a file, another one for another `where`: by a hash of it where its own characters cannot tell."""
    name = re.sub(r"[^A-Za-z0-9._]+", "-", where).strip("-")
    # Only folders, classes and the number at the end become hyphens here, so that no two places share a name.
    if re.fullmatch(r"[A-Za-z0-9._/:]+(-\d+)?", where) and len(name) <= LONGEST:
        return name
    return f"{name[:LONGEST]}-{hashlib.sha256(where.encode()).hexdigest()[:8]}"
