"""What tests record, as plain data on pytest's own reports, so that xdist carries it and one process collects it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest

CLAIMS = pytest.StashKey[list[dict[str, Any]]]()
REQUIREMENTS = pytest.StashKey[list[dict[str, Any]]]()
DIAGNOSES = pytest.StashKey[list[dict[str, Any]]]()
RESULTS = pytest.StashKey[list[dict[str, Any]]]()

#: What becomes of a test, the worst last: of its phases and subtests, that one counts.
_WORSE = ("passed", "skipped", "xfailed", "xpassed", "failed")
#: What a report carries, by the name it has there.
_KEPT = {"claims": CLAIMS, "requirements": REQUIREMENTS, "diagnoses": DIAGNOSES, "results": RESULTS}
#: A claim's figures that go into JUnit's XML, each as the property ``robust_NAME``.
_PROPERTIES = (
    "paper", "claim", "defense", "attack", "dataset", "value", "lower", "upper", "n", "comparison", "threshold",
    "verdict",
)  # fmt: skip


def plain(value: Any) -> Any:
    """`value` as JSON gives it back: xdist takes exact built-in types only, and NumPy's scalars are none."""
    return json.loads(json.dumps(value, default=lambda other: other.item() if hasattr(other, "item") else str(other)))


def record_claim(item: pytest.Item, claim: Mapping[str, Any]) -> dict[str, Any]:
    """Keep a claim for the report of the running phase, and its figures as JUnit properties."""
    kept: dict[str, Any] = plain(dict(claim))
    item.stash.setdefault(CLAIMS, []).append(kept)
    _add_properties(item, kept)
    return kept


def record_requirement(item: pytest.Item, requirement: Mapping[str, Any], entry: Any) -> None:
    """Keep a judged requirement for the report of the running phase, and its figures as JUnit properties.

    Args:
        item: its test.
        requirement: as plain data.
        entry: what a baseline keeps of it, as plain data; None where that is nothing.
    """
    kept: dict[str, Any] = plain({**requirement, "entry": entry})
    item.stash.setdefault(REQUIREMENTS, []).append(kept)
    _add_properties(item, kept)


def record_diagnosis(item: pytest.Item, diagnosis: Mapping[str, Any]) -> None:
    """Keep the checks on an evaluation, as plain data, for the report of the running phase."""
    item.stash.setdefault(DIAGNOSES, []).append(plain(dict(diagnosis)))


def record_result(item: pytest.Item, result: Mapping[str, Any]) -> None:
    """Keep a result of the gate that a test has looked at, as plain data, for the report of the running phase."""
    item.stash.setdefault(RESULTS, []).append(plain(dict(result)))


def _add_properties(item: pytest.Item, figures: Mapping[str, Any]) -> None:
    for name in _PROPERTIES:
        if figures.get(name) not in (None, ""):
            item.user_properties.append((f"robust_{name}", figures[name]))


def attach(item: pytest.Item, report: pytest.TestReport, new_events: list[dict[str, Any]]) -> None:
    """Put what the phase recorded, and what the bench did meanwhile, on the phase's report."""
    kept = {name: item.stash.get(key, []) for name, key in _KEPT.items()}
    if any(kept.values()) or new_events:
        for key in _KEPT.values():
            item.stash[key] = []
        # Every worker collects the same tests in the same order, so the position orders the summary.
        index = item.session.items.index(item)
        report.robust = {"index": index, **kept, "events": plain(new_events)}  # type: ignore[attr-defined]


class Records:
    """Everything recorded so far, by test; a plugin, because the hook it implements is told no config."""

    def __init__(self) -> None:
        #: By the name it has on a report, then by test: where the test stands, and what it recorded.
        self._kept: dict[str, dict[str, tuple[int, list[dict[str, Any]]]]] = {name: {} for name in _KEPT}
        #: What became of each test that did not simply pass: the worst of its reports.
        self._outcomes: dict[str, str] = {}
        self.events: list[dict[str, Any]] = []
        #: What was missing, and how many tests were skipped for it.
        self.missing: Counter[str] = Counter()
        #: What could not be collected, by its node id, in the order of the errors.
        self.uncollected: dict[str, None] = {}

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Note what cannot be collected: its tests are in no report."""
        if report.failed:
            self.uncollected[report.nodeid or "the tests"] = None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add what a report carries; a test that is run again, so set up again, replaces what it recorded before."""
        self._judge(report)
        missing: str | None = getattr(report, "robust_missing", None)
        if missing is not None:
            self.missing[missing] += 1
        carried: dict[str, Any] | None = getattr(report, "robust", None)
        if carried is None:
            return
        self.events += carried["events"]
        outcome = _expected_outcome(report)
        claims = [{**claim, "test": report.nodeid, "expected": outcome} for claim in carried["claims"]]
        for name, kept in self._kept.items():
            # A phase has several reports where the test has subtests.
            _, rows = kept.setdefault(report.nodeid, (carried["index"], []))
            rows += claims if name == "claims" else carried[name]

    def _judge(self, report: pytest.TestReport) -> None:
        """Note what became of the test, and let go of what an earlier run of it left."""
        test = report.nodeid
        if report.when == "setup":
            self._outcomes.pop(test, None)
            for kept in self._kept.values():
                kept.pop(test, None)
        found = _expected_outcome(report) or report.outcome
        if found in _WORSE and _WORSE.index(found) > _WORSE.index(self._outcomes.get(test, "passed")):
            self._outcomes[test] = found

    @property
    def claims(self) -> list[dict[str, Any]]:
        """Every claim, the papers in the order of their first test, the claims of one in the order of the files."""
        claims = _in_order(self._kept["claims"])
        papers = list(dict.fromkeys(claim.get("paper") for claim in claims))
        return sorted(claims, key=lambda claim: papers.index(claim.get("paper")))

    @property
    def requirements(self) -> list[dict[str, Any]]:
        """Every judged requirement, in the order of the files."""
        return _in_order(self._kept["requirements"])

    @property
    def diagnoses(self) -> list[dict[str, Any]]:
        """The checks on each evaluation, in the order of the files."""
        return _in_order(self._kept["diagnoses"])

    @property
    def results(self) -> list[dict[str, Any]]:
        """The gate's results that tests have looked at, with what became of the test, in the order of the files.

        A test that takes the fixture and has measured nothing when it ends has one row without figures. Outcomes are
        "passed", "skipped", "xfailed", "xpassed" and "failed", also for an error outside the test function.
        """
        latest = {(row["test"], row["number"]): row for row in _in_order(self._kept["results"])}
        return [
            {**{k: v for k, v in row.items() if k != "number"}, "outcome": self._outcomes.get(row["test"], "passed")}
            for row in latest.values()
        ]


def _in_order(kept: Mapping[str, tuple[int, list[dict[str, Any]]]]) -> list[dict[str, Any]]:
    """What was kept of all tests, in the order in which the tests were collected."""
    return [each for _, group in sorted(kept.values(), key=lambda row: row[0]) for each in group]


def _expected_outcome(report: pytest.TestReport) -> str | None:
    if not hasattr(report, "wasxfail"):
        return None
    return "xfailed" if report.skipped else "xpassed"
