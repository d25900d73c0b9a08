"""The two images of a failed property, saved where the user looks for what a run leaves."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_robust.errors import InvarianceError
from pytest_robust.harness.session import session_of

#: Folder inside the one of ``--robust-report``, and inside pytest's cache folder.
FOLDER = "robust-properties"


def save_failed_pair(item: pytest.Item, error: BaseException) -> None:
    """Save the images of an InvarianceError, of a group the first one's, and add a note with their place to it."""
    failed = _invariance_error(error)
    if failed is None or failed.saved is not None:
        return
    from pytest_robust.strategies.pair import save_pair

    try:
        folder = _folder(item.config)
        if folder is None:
            failed.add_note("images: not saved, as pytest has no cache folder; give --robust-report=DIR.")
            return
        failed.saved = save_pair(folder, item.nodeid, *failed.images)
        failed.add_note(f"images: {failed.saved}")
    except OSError as problem:
        failed.add_note(f"images: not saved ({problem}); give --robust-report=DIR.")


def _invariance_error(error: BaseException) -> InvarianceError | None:
    if isinstance(error, BaseExceptionGroup):
        return next(filter(None, map(_invariance_error, error.exceptions)), None)
    return error if isinstance(error, InvarianceError) else None


def _folder(config: pytest.Config) -> Path | None:
    report = session_of(config).options.report
    if report is not None:
        return report / FOLDER
    cache = getattr(config, "cache", None)  # not with -p no:cacheprovider
    return None if cache is None else Path(cache.mkdir(FOLDER))
