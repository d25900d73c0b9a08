"""Whether a folder that the user named can be written, found out before anything is spent on it."""

from __future__ import annotations

import tempfile
from pathlib import Path


def check_writable(folder: Path) -> None:
    """Raise OSError unless `folder`, or the nearest one above it that exists, takes a file; leaves nothing behind."""
    path = folder.absolute()
    existing = next(p for p in (path, *path.parents) if p.exists())
    if not existing.is_dir():
        raise NotADirectoryError(f"{existing} is not a folder")
    with tempfile.TemporaryFile(dir=existing):
        pass
