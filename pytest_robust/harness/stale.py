"""What an earlier run left in the report folder: gone before this one can end without a report of its own."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

from pytest_robust.harness.pictures import RESULTS, pictures_of, remove_pictures


def forget(folder: Path) -> None:
    """Remove ``results.json`` and its pictures, and let ``summary.md`` say that the run did not finish.

    Files of these names that this plugin has not written stay; so does what cannot be changed, of which the check of
    the folder says more.
    """
    from pytest_robust.reports.pull_request import FILE_NAME, UNFINISHED, is_summary
    from pytest_robust.store.text_file import write_whole

    with suppress(OSError, ValueError):
        if is_summary((folder / FILE_NAME).read_text(encoding="utf-8")):
            write_whole(folder / FILE_NAME, UNFINISHED)
    with suppress(OSError, ValueError):
        document = json.loads((folder / RESULTS).read_text(encoding="utf-8"))
        if isinstance(document, dict) and {"schema", "claims", "spent"} <= document.keys():
            remove_pictures(folder, pictures_of(folder))
            (folder / RESULTS).unlink()
