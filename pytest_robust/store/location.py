"""Where artifacts are kept unless the user names a folder."""

from __future__ import annotations

import os
from pathlib import Path

from pytest_robust.errors import CacheError


def default_root() -> Path:
    """``$XDG_CACHE_HOME/pytest-robust``, or ``~/.cache/pytest-robust``.

    Raises:
        CacheError: there is no home folder.
    """
    xdg = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(xdg):  # the specification says to ignore a relative one
        return Path(xdg) / "pytest-robust"
    try:
        return Path.home() / ".cache" / "pytest-robust"
    except RuntimeError as error:
        raise CacheError("there is no home folder to cache in; name a folder with --robust-cache.") from error
