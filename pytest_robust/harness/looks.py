"""Which results of the gate a test has looked at, and what its report says of them.

A failed test gets everything about them. A test that passed on figures which are no evidence fails, unless it has
looked at their checks itself.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from _pytest._code.code import ExceptionRepr

from pytest_robust.harness.pictures import picture_of
from pytest_robust.harness.records import record_result

if TYPE_CHECKING:
    from pytest_robust.gate.result import Result

#: Results by identity, with the attributes that were read.
Seen = dict[int, "tuple[Result, set[str]]"]
TITLE = "adversarial robustness"


class Looks:
    """What was looked at since the last report, in the order of the first looks, and while fixtures were set up."""

    def __init__(self) -> None:
        self._looks: Seen = {}
        self._fixtures: dict[pytest.FixtureDef[Any], Seen] = {}

    def note(self, result: Result, attribute: str) -> None:
        """Somebody has read `attribute` of `result`."""
        self._looks.setdefault(id(result), (result, set()))[1].add(attribute)

    def __bool__(self) -> bool:
        return bool(self._looks or self._fixtures)

    @contextmanager
    def kept_for(self, fixture: pytest.FixtureDef[Any]) -> Iterator[None]:
        """Keep what is looked at meanwhile for every test that uses `fixture`: they stand on what it gives them."""
        before, self._looks = self._looks, {}
        try:
            yield
        finally:
            if self._looks:
                self._fixtures[fixture] = self._looks
            self._looks = _merged([before, self._looks])

    def forget(self, fixture: pytest.FixtureDef[Any]) -> None:
        """The fixture is torn down."""
        self._fixtures.pop(fixture, None)

    def drain(self, item: pytest.Item) -> list[tuple[Result, set[str]]]:
        """Results with the attributes that were read since the last call, or by a fixture that `item` uses."""
        names = getattr(getattr(item, "_request", item), "fixturenames", ())
        used = [
            seen
            for fixture, seen in self._fixtures.items()
            if fixture.argname in names and item.nodeid.startswith(fixture.baseid)
        ]
        looks, self._looks = _merged([*used, self._looks]), {}
        return list(looks.values())


def _merged(several: Iterable[Seen]) -> Seen:
    merged: Seen = {}
    for seen in several:
        for key, (result, attributes) in seen.items():
            merged.setdefault(key, (result, set()))[1].update(attributes)
    return merged


def tell(item: pytest.Item, report: pytest.TestReport, noted: Looks, folder: Path | None) -> None:
    """Explain the results to whoever reads a failed report; fail a passed one whose figures are no evidence.

    `folder` is for pictures of the worst images; None draws none.
    """
    if report.when == "setup" and report.passed:
        return  # what a fixture has looked at, the test stands on
    looks = noted.drain(item)
    if report.when == "call" and report.passed:
        unreliable = [result for result, seen in looks if result.found and "checks" not in seen]
        if not unreliable:
            return
        report.outcome = "failed"
        causes = "; ".join(f"{result.title}: {'; '.join(result.found)}" for result in unreliable)
        report.longrepr = (
            f"The test passed on figures that are no evidence ({causes}). Mend the evaluation, or look at the result's "
            "`checks` in the test to judge them yourself."
        )
    told = [
        _told(item, number, result, folder if report.failed else None) for number, (result, _) in enumerate(looks, 1)
    ]
    for row in told:
        record_result(item, {**row, "test": item.nodeid, "outcome": report.outcome})
    if report.failed:
        text = "\n\n".join(row["explanation"] for row in told)
        if isinstance(report.longrepr, ExceptionRepr):
            report.longrepr.addsection(TITLE, text)  # with the error itself, so that JUnit's XML has it too
        else:
            report.sections.append((TITLE, text))


def _told(item: pytest.Item, number: int, result: Result, folder: Path | None) -> dict[str, Any]:
    """A result as plain data, in words as well, its worst images drawn into `folder`."""
    picture = picture_of(folder, f"{item.nodeid}-{number}", result.title, result.worst_shown)
    shown = (
        f"\n  picture of the worst: {picture.name}" if picture.name else picture.problem and f"\n  {picture.problem}"
    )
    command = f"pytest {shlex.quote(item.nodeid)} --robust-seed={result.seed} --robust-device={result.device}"
    explanation = f"{result.explain()}{shown}\n  in pytest: {command}"
    return {**result.described(), "title": result.title, "picture": picture.name, "explanation": explanation}
