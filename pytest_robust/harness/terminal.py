"""What the user reads: the header line, the table of claims and what the run spent, and results.json on the way out."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from pytest_robust.errors import RobustError
from pytest_robust.harness.devices import came_to, described
from pytest_robust.harness.session import RobustSession


def header(session: RobustSession) -> str:
    """The effective settings in one line; imports nothing to find them out."""
    options = session.options
    parts = [
        f"device {described(options.device)}",
        *([] if _gates_alone(session) else [f"data set {options.dataset}", f"scale {options.scale}"]),
        f"seed {options.seed}",
        f"cache {_short(_cache(options.cache))}",
    ]
    if options.family is not None:
        parts.append(f"family {options.family}")
    for plural, names in (("defenses", options.defense), ("attacks", options.attack)):
        if names:
            parts.append(f"{plural} {', '.join(names)}")
    return f"robust: {', '.join(parts)}"


def _gates_alone(session: RobustSession) -> bool:
    """Whether the command line names nothing but robust.toml files, which have images of their own."""
    named = [str(arg).partition("::")[0] for arg in session.config.args]
    return bool(named) and all(Path(name).name == "robust.toml" for name in named)


def _cache(given: Path | None) -> Path | None:
    from pytest_robust.store.location import default_root

    if given is not None:
        return given
    try:
        return default_root()
    except RobustError:  # no home folder: the bench says so, if there is ever a bench
        return None


def _short(path: Path | None) -> str:
    if path is None:
        return "none"
    try:
        return f"~/{path.relative_to(Path.home()).as_posix()}"
    except (ValueError, RuntimeError):  # it is elsewhere, or there is no home folder
        return str(path)


def summarise(reporter: pytest.TerminalReporter, session: RobustSession) -> None:
    """A row per claim and what the run spent; one line under ``-q``; under ``-qq`` what became of a baseline alone."""
    claims, events, verbosity = session.records.claims, session.records.events, session.config.get_verbosity()
    requirements = session.records.requirements
    if verbosity < -1:
        if session.baseline_note:
            reporter.write_line(session.baseline_note)
        return
    from pytest_robust.reports.gate_table import diagnose_counts, requirement_counts, requirements_table
    from pytest_robust.reports.spending import spent_sentence
    from pytest_robust.reports.summary import claims_table, verdict_counts

    sentences = [
        *([requirement_counts(requirements)] if requirements else []),
        *filter(None, [diagnose_counts(session.records.diagnoses)]),
        *([verdict_counts(claims)] if claims else []),
        spent_sentence(events),
        *_not_run(session),
    ]
    if verbosity < 0:
        reporter.write_line(f"robust: {'; '.join(sentences)}")
        return
    reporter.section("adversarial robustness")
    tables = [requirements_table(requirements) if requirements else "", claims_table(claims) if claims else ""]
    checks = [f"checks on {d['title']}\n{d['flagged']}".rstrip() for d in session.records.diagnoses]
    for block in filter(None, [*tables, *checks]):
        reporter.write_line(block)
        reporter.write_line("")
    for sentence in sentences:
        reporter.write_line(sentence)


def _not_run(session: RobustSession) -> list[str]:
    """What was skipped because files are missing, which pytest itself says under ``-rs`` only; where the report is."""
    missing = [
        f"{count} {'test was' if count == 1 else 'tests were'} NOT RUN: {reason}"
        for reason, count in session.records.missing.items()
    ]
    report, saved = session.options.report, session.baseline_note
    return [*missing, *([saved] if saved else []), *([f"report: {report / 'results.json'}"] if report else [])]


def write_report(session: RobustSession, stopped: str = "") -> None:
    """Write results.json and summary.md where ``--robust-report`` says, once, after the last test.

    `stopped` says why not all tests ran.

    Raises:
        pytest.exit.Exception: the folder cannot be written any more; the run fails with the reason.
    """
    options, config = session.options, session.config
    if options.report is None or session.worker is not None or config.getoption("collectonly"):
        return
    from pytest_robust.bench.families import family_title
    from pytest_robust.reports.pull_request import write_summary
    from pytest_robust.reports.results import current_versions, write_results

    settings = {
        "dataset": options.dataset,
        "family": None if options.family is None else family_title(options.family),
        "scale": options.scale,
        "device": came_to(options.device),
        "seed": options.seed,
        # Sums depend on their order, so figures of large networks can differ with the number of threads.
        "cpus": os.cpu_count(),
        "threads": os.environ.get("OMP_NUM_THREADS", ""),
        # A CPU without bfloat16 trains other networks, which can turn a close verdict.
        "precision": sorted({event["precision"] for event in session.records.events if event.get("precision")}),
        "defenses": list(options.defense),
        "attacks": list(options.attack),
    }
    records, versions = session.records, current_versions()
    told = {
        "requirements": _without_words(records.requirements),
        "diagnoses": records.diagnoses,
        "results": _without_words(records.results),
    }
    try:
        write_results(options.report, records.claims, records.events, settings, versions, **told)
        write_summary(
            options.report,
            records.requirements,
            records.claims,
            records.diagnoses,
            records.events,
            settings,
            versions,
            results=records.results,
            uncollected=list(records.uncollected),
            stopped=stopped,
        )
    except RobustError as error:
        pytest.exit(str(error), returncode=pytest.ExitCode.USAGE_ERROR)


def _without_words(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What machines need of rows: not the text, nor what a baseline alone wants."""
    return [{k: v for k, v in row.items() if k not in ("entry", "explanation", "gate_keeps")} for row in rows]
