"""How a mistake that the user can mend is shown: its sentence and the user's own lines, or a skip for missing data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_robust.errors import FamilyError, MissingDataError, RobustError
from pytest_robust.harness.records import CLAIMS
from pytest_robust.harness.session import RobustSession

if TYPE_CHECKING:
    from _pytest._code.code import Traceback, TracebackEntry


def mend(
    item: pytest.Item,
    excinfo: pytest.ExceptionInfo[BaseException],
    report: pytest.TestReport,
    session: RobustSession,
) -> None:
    """Rewrite the report of a test that a RobustError or an undecided claim ended; leave every other report alone."""
    if isinstance(excinfo.value, pytest.skip.Exception):
        if item.stash.get(CLAIMS, []) and isinstance(report.longrepr, tuple):
            report.longrepr = (*_location(item), report.longrepr[2])
        return
    if not isinstance(excinfo.value, RobustError):
        return
    if isinstance(excinfo.value, MissingDataError) and not session.options.strict_data:
        report.outcome = "skipped"
        report.longrepr = (*_location(item), f"Skipped: {excinfo.value}")
        report.robust_missing = str(excinfo.value)  # type: ignore[attr-defined]  # the summary says it once
    elif not wants_traceback(item.config):
        report.longrepr = _message(item, excinfo)


def wants_traceback(config: pytest.Config) -> bool:
    """Whether the user asks for more than a sentence: where in this package or in torch an error comes from."""
    # pytest's terminal plugin has these options, and a run may be without it (-p no:terminal).
    return bool(config.getoption("fulltrace", False)) or config.getoption("tbstyle", "auto") in ("long", "native")


def _location(item: pytest.Item) -> tuple[str, int]:
    path, line, _ = item.reportinfo()
    return str(path), (line or 0) + 1


def _message(item: pytest.Item, excinfo: pytest.ExceptionInfo[BaseException]) -> Any:
    """The error with the lines of the user's own files that led to it; its sentence alone if there are none.

    Alone too where a family cannot be had: the command line names that one, and no line of a test is at fault.
    """

    def own(info: pytest.ExceptionInfo[BaseException]) -> Traceback:
        return info.traceback.filter(lambda entry: _is_users(entry, item))

    alone = isinstance(excinfo.value, FamilyError) or not own(excinfo)
    return excinfo.getrepr(style="value" if alone else "short", tbfilter=own, chain=False)


def _is_users(entry: TracebackEntry, item: pytest.Item) -> bool:
    path, module = Path(entry.path), str(entry.frame.f_globals.get("__name__", ""))
    if path == item.path:
        return True
    # A project's virtual environment often lies inside its root, and this package may be the project under test.
    installed = "site-packages" in path.parts or module.partition(".")[0] == "pytest_robust"
    return path.is_relative_to(item.config.rootpath) and not installed
