"""What tests record, as plain data on pytest's own reports, so that xdist carries it and one process collects it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest

CLAIMS = pytest.StashKey[list[dict[str, Any]]]()

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
    for name in _PROPERTIES:
        if kept.get(name) not in (None, ""):
            item.user_properties.append((f"robust_{name}", kept[name]))
    return kept


def attach(item: pytest.Item, report: pytest.TestReport, new_events: list[dict[str, Any]]) -> None:
    """Put what the phase recorded, and what the bench did meanwhile, on the phase's report."""
    claims = item.stash.get(CLAIMS, [])
    if claims or new_events:
        item.stash[CLAIMS] = []
        # Every worker collects the same tests in the same order, so the position orders the summary.
        index = item.session.items.index(item)
        report.robust = {"index": index, "claims": claims, "events": plain(new_events)}  # type: ignore[attr-defined]


class Records:
    """Everything recorded so far, by test and phase; a plugin, because the hook it implements is told no config."""

    def __init__(self) -> None:
        self._claims: dict[tuple[str, str], tuple[int, list[dict[str, Any]]]] = {}
        self.events: list[dict[str, Any]] = []
        #: What was missing, and how many tests were skipped for it.
        self.missing: Counter[str] = Counter()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add what a report carries; a test that is run again replaces the claims of its earlier run."""
        missing: str | None = getattr(report, "robust_missing", None)
        if missing is not None:
            self.missing[missing] += 1
        carried: dict[str, Any] | None = getattr(report, "robust", None)
        if carried is None:
            return
        self.events += carried["events"]
        outcome = _expected_outcome(report)
        claims = [{**claim, "test": report.nodeid, "expected": outcome} for claim in carried["claims"]]
        self._claims[report.nodeid, report.when] = (carried["index"], claims)

    @property
    def claims(self) -> list[dict[str, Any]]:
        """Every claim, the papers in the order of their first test, the claims of one in the order of the files."""
        rows = sorted(self._claims.values(), key=lambda row: row[0])
        claims = [claim for _, group in rows for claim in group]
        papers = list(dict.fromkeys(claim.get("paper") for claim in claims))
        return sorted(claims, key=lambda claim: papers.index(claim.get("paper")))


def _expected_outcome(report: pytest.TestReport) -> str | None:
    if not hasattr(report, "wasxfail"):
        return None
    return "xfailed" if report.skipped else "xpassed"
