"""summary.md: the verdicts of a run as a comment on a pull request, with everything else folded away."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tabulate import tabulate

from pytest_robust.errors import SettingsError
from pytest_robust.reports.fitting import Folded, Part, Rows, fitted
from pytest_robust.reports.gate_table import (
    Row,
    baseline,
    headline,
    images,
    required,
    requirement_counts,
    verdict,
    worse,
)
from pytest_robust.reports.spending import spent_sentence
from pytest_robust.reports.summary import claims_markdown, verdict_counts
from pytest_robust.store.text_file import write_whole

FILE_NAME = "summary.md"
#: GitHub takes comments of 65,536 characters; beyond this many, folded parts and rows are left out.
LONGEST = 60_000
PASSED = "✅"
#: What every summary begins with.
_OPENINGS = ("## Robustness: ", "## Claims\n", "<details><summary>")
UNFINISHED = """## Robustness: the run did not finish

pytest ended before it could write its report; its own output says why. Nothing is known of this build.
"""


def is_summary(text: str) -> bool:
    """Whether `write_summary` has written `text`, or it is `UNFINISHED`."""
    return text.startswith(_OPENINGS)


def write_summary(
    folder: Path,
    requirements: Sequence[Row],
    claims: Sequence[Mapping[str, Any]],
    diagnoses: Sequence[Mapping[str, Any]],
    events: Sequence[Mapping[str, Any]],
    settings: Mapping[str, Any],
    versions: Mapping[str, str],
    results: Sequence[Mapping[str, Any]] = (),
    uncollected: Sequence[str] = (),
    stopped: str = "",
) -> Path:
    """Write ``summary.md`` into `folder`, which is there, and return its path.

    `uncollected` are files whose tests are not known, and `stopped` says why not all tests ran; "" where they did.

    Raises:
        SettingsError: the folder cannot be written.
    """
    parts = [
        *_missing(uncollected, stopped),
        *_requirements(requirements, diagnoses),
        *_tests(results),
        *_claims(claims),
        *[_folded(f"Checks on the evaluation: {found['title']}", str(found["markdown"])) for found in diagnoses],
        _folded("Settings", _settings(requirements, claims, events, settings, versions)),
    ]
    text = fitted([part for part in parts if part], LONGEST) + "\n"
    try:
        return write_whole(folder / FILE_NAME, text)
    except OSError as error:
        raise SettingsError(
            f"the report folder {folder} cannot be written ({error}): name another with --robust-report."
        ) from error


def _missing(uncollected: Sequence[str], stopped: str) -> list[Part]:
    """What the run leaves open; its verdicts are not all that there are."""
    if uncollected:
        files = f"{len(uncollected)} {'file' if len(uncollected) == 1 else 'files'}"
        rows = tuple(f"- {_cell(name)}" for name in uncollected)
        return [f"## Robustness: {files} could not be collected", Rows(("pytest's own output says why:", ""), rows)]
    return [f"## Robustness: the run did not finish ({stopped})"] if stopped else []


def _requirements(rows: Sequence[Row], diagnoses: Sequence[Mapping[str, Any]]) -> list[Part]:
    said = headline(rows, diagnoses)
    parts: list[Part] = [f"## Robustness: {said}"] if said else []
    if not rows:
        return parts
    parts += [f"{requirement_counts(rows)}.", _table(rows)]
    if worse(rows):
        lines = [f"- {_cell(row['requirement'])}: {baseline(row)}" for row in worse(rows)]
        parts.append(Rows(("**Worse than the baseline**", ""), tuple(lines)))
    for row in rows:
        if row["verdict"] not in ("holds", "information"):
            parts.append(_folded(f"{row['requirement']}: {row['verdict']}", _code(row)))
    return parts


def _tests(results: Sequence[Mapping[str, Any]]) -> list[Part]:
    """Tests of the fixture `robust`, with every result that they looked at."""
    if not results:
        return []
    outcomes = list({str(row["test"]): str(row["outcome"]) for row in results}.values())
    signs = {"passed": PASSED, "failed": "❌"}
    cells = [(signs.get(str(row["outcome"]), "⚪"), _cell(row["test"]), _cell(row["title"])) for row in results]
    table = _rows(cells, ("", "test", "measured"))
    folded = [_folded(str(row["test"]), _code(row)) for row in results if row["outcome"] == "failed"]
    return [f"## Robustness: {_test_counts(outcomes)}", table, *folded]


def _test_counts(outcomes: Sequence[str]) -> str:
    """``1 of 3 tests failed, 1 xfailed``; "passed" of those alone that did."""
    failed, passed = outcomes.count("failed"), outcomes.count("passed")
    others = Counter(outcome for outcome in outcomes if outcome not in ("failed", "passed"))
    beside = "".join(f", {count} {outcome}" for outcome, count in others.items())
    if failed:
        return f"{failed} of {len(outcomes)} tests failed{beside}"
    return f"{passed} of {len(outcomes)} tests passed{beside}" if others else f"all {passed} tests passed"


def _table(rows: Sequence[Row]) -> Rows:
    cells = [
        (
            {"pass": PASSED, "fail": "❌"}.get(str(row.get("outcome")), "⚪"),
            _cell(required(row)),
            _cell(row.get("measured")),
            images(row),
            _cell(baseline(row)),
            verdict(row),
        )
        for row in rows
    ]
    headers = ("", "requirement", "measured", "images", "baseline", "verdict")
    shown = [i for i in range(len(headers)) if any(row[i] for row in cells)]
    table = [[row[i] for i in shown] for row in cells]
    return _rows(table, [headers[i] for i in shown])


def _rows(cells: Sequence[Sequence[str]], headers: Sequence[str]) -> Rows:
    """A table whose rows can be left out, those with a tick first."""
    lines = tabulate(cells, headers, tablefmt="github", disable_numparse=True).splitlines()
    spared = frozenset(i for i, row in enumerate(cells) if row[0] == PASSED)
    return Rows(tuple(lines[:2]), tuple(lines[2:]), spared)


def _claims(claims: Sequence[Mapping[str, Any]]) -> list[Part]:
    if not claims:
        return []
    return ["## Claims", f"{verdict_counts(claims)}.", _folded("All claims", claims_markdown(claims))]


def _settings(
    requirements: Sequence[Row],
    claims: Sequence[Mapping[str, Any]],
    events: Sequence[Mapping[str, Any]],
    settings: Mapping[str, Any],
    versions: Mapping[str, str],
) -> str:
    # The data set and the scale of the run are those of claims; a gate has its own.
    kept = {name: value for name, value in settings.items() if claims or name not in ("dataset", "scale")}
    own = {key: ", ".join(dict.fromkeys(str(r[key]) for r in requirements if r.get(key))) for key in ("model", "data")}
    settings = {**own, **kept}
    rows = [
        (name, _cell(value)) for name, value in (*settings.items(), *versions.items()) if value not in ("", [], None)
    ]
    table = tabulate(rows, ("", ""), tablefmt="github", disable_numparse=True)
    return f"The run {spent_sentence(events)}.\n\n{table}"


def _code(row: Row) -> str:
    """The explanation as it was printed; a fence longer than any inside it."""
    text = str(row.get("explanation") or row.get("reason") or "")
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}text\n{text}\n{fence}"


def _folded(title: str, text: str) -> Folded:
    return Folded(f"<details><summary>{_cell(title).replace('<', '&lt;')}</summary>\n\n{text}\n\n</details>")


def _cell(value: object) -> str:
    text = "" if value is None else str(value)
    return " ".join(text.replace("|", r"\|").split())
