"""Saving a baseline at the end of a run: only what a later run may well be compared with, and never half of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from pytest_robust.errors import GateError, RobustError
from pytest_robust.harness.session import RobustSession

Rows = list[dict[str, Any]]


def save_baseline(session: RobustSession, *, failed: bool) -> bool:
    """Keep what the requirements measured where ``--robust-save-baseline`` says, or note why not.

    Args:
        session: with the rows.
        failed: the run has failed, or was cut short, for whatever reason; it saves nothing.

    Returns:
        False where a baseline was asked for and not saved.

    Raises:
        pytest.exit.Exception: the file cannot be written any more; the run fails with the reason.
    """
    path, rows = session.options.save_baseline, session.records.requirements
    if path is None or session.worker is not None or session.config.getoption("collectonly"):
        return True
    if not rows and session.config.getoption("robust_save_baseline") is None:
        return True  # an ini file asks for it in every run, and this one is of other tests
    from pytest_robust.gate.baseline_file import write_baseline
    from pytest_robust.reports.results import current_versions

    reason = _unfit(rows) or ("the run failed" if failed else "")
    try:
        kept = [] if reason else _of_earlier(path, rows)
    except GateError as error:
        reason = str(error)
    if reason:
        session.baseline_note = f"the baseline {path} was NOT SAVED: {reason}"
        return False
    try:
        write_baseline(path, [*_entries(rows), *kept], current_versions())
    except RobustError as error:
        pytest.exit(str(error), returncode=pytest.ExitCode.USAGE_ERROR)
    session.baseline_note = f"baseline: {path}"
    return True


def _entries(rows: Rows) -> Rows:
    return [row["entry"] for row in rows if row["entry"] is not None]


def _unfit(rows: Rows) -> str:
    """Why no later run should be compared with this one; "" if it may be."""
    from pytest_robust.reports.gate_table import worse

    unmeasured = [row for row in rows if row["verdict"] == "error"]
    if unmeasured or not _entries(rows):
        return f"the run has not measured {_named(unmeasured) or 'anything that it could keep'}"
    if worse(rows):
        return "the run is worse than the one it was compared with"
    unreliable = [row for row in rows if row.get("checks")]
    if unreliable:
        return f"the figures are no evidence for {_named(unreliable)}"
    failed = [row for row in rows if row.get("outcome") == "fail"]
    return f"the run does not meet {_named(failed)}" if failed else ""


def _of_earlier(path: Path, rows: Rows) -> Rows:
    """The entries of the file as it is that this run has not measured: of other gates, and of deselected requirements.

    Raises:
        GateError: a requirement was not run, and the file has no figures of it on this model.
    """
    from dataclasses import asdict

    from pytest_robust.gate.baseline_file import Baseline

    measured = _entries(rows)
    try:
        earlier = [asdict(entry) for entry in Baseline.read(path).entries]
    except GateError:
        earlier = []  # there is none, or none that any run could be compared with
    here = {entry["file"]: entry["model"] for entry in measured}
    new = {(entry["file"], entry["measures"]) for entry in measured}
    wanted = {(row["file"], measures) for row in rows for measures in row["gate_keeps"]} - new
    kept = [e for e in earlier if (e["file"], e["measures"]) in wanted and dict(e["model"]) == here.get(e["file"])]
    missing = wanted - {(entry["file"], entry["measures"]) for entry in kept}
    if missing:
        raise GateError(
            f"{', '.join(sorted(repr(measures) for _, measures in missing))} was not run, and the file holds no "
            "figures of it on this model; run all requirements."
        )
    others = {row["file"] for row in rows}
    return [*kept, *(entry for entry in earlier if entry["file"] not in others)]


def _named(rows: Iterable[Mapping[str, Any]]) -> str:
    return ", ".join(repr(row["requirement"]) for row in rows)
