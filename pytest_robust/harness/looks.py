"""Which results of the gate a test has looked at, and what its report says of them.

A failed test gets everything about them. A test that passed on figures which are no evidence fails, unless it has
looked at their checks itself; so does a teardown.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
#: Where the fixture that evaluates is written: a user's own of that name is none of ours.
GATE = "pytest_robust.fixtures.robust"


class Looks:
    """What was looked at since the last report, in the order of the first looks, and while fixtures were set up."""

    def __init__(self) -> None:
        self._looks: Seen = {}
        self._fixtures: dict[pytest.FixtureDef[Any], Seen] = {}
        #: What the running test has looked at in all of its reports so far.
        self.told: Seen = {}

    def note(self, result: Result, attribute: str) -> None:
        """Somebody has read `attribute` of `result`."""
        self._looks.setdefault(id(result), (result, set()))[1].add(attribute)

    def __bool__(self) -> bool:
        return bool(self._looks or self._fixtures or self.told)

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
        """The fixture is torn down; what it read when it was set up counts for what its teardown looked at."""
        for key, (_, attributes) in self._fixtures.pop(fixture, {}).items():
            if key in self._looks:
                self._looks[key][1].update(attributes)

    def drain(self, item: pytest.Item, when: str) -> Seen:
        """Results with the attributes that were read since the last call, or by a fixture that `item` uses.

        In a teardown only what was read in it: on a fixture's looks the test itself has been judged.
        """
        used = [] if when == "teardown" else [self._fixtures[each] for each in _used(item) if each in self._fixtures]
        looks, self._looks = _merged([*used, self._looks]), {}
        return looks


def _used(item: pytest.Item) -> list[pytest.FixtureDef[Any]]:
    """The fixtures that `item` has really been given, and those of the same name that they stand on.

    pytest keeps them in attributes of its own; without these, all fixtures of the item's names count.
    """
    request, visible = getattr(item, "_request", None), _visible(item)
    given: dict[str, pytest.FixtureDef[Any]] | None = getattr(request, "_fixture_defs", None)
    if given is None:
        return [each for several in visible.values() for each in several]
    found = list(given.values())
    for each in given.values():
        overridden = [other for other in visible.get(each.argname, ()) if other is not each]
        found += overridden if each.argname in each.argnames else []
    return found


def _visible(item: pytest.Item) -> Mapping[str, Sequence[pytest.FixtureDef[Any]]]:
    """By name, every fixture that `item` could be given, the nearest one last."""
    return getattr(getattr(item, "_fixtureinfo", None), "name2fixturedefs", {})


def evaluates(item: pytest.Item) -> bool:
    """Whether `item` takes the fixture `robust`, and that is this plugin's."""
    given = getattr(getattr(item, "_request", None), "_fixture_defs", {}).get("robust")
    nearest = [given] if given is not None else _visible(item).get("robust", ())[-1:]
    return any(getattr(each.func, "__module__", "") == GATE for each in nearest)


def _merged(several: Iterable[Seen]) -> Seen:
    merged: Seen = {}
    for seen in several:
        for key, (result, attributes) in seen.items():
            merged.setdefault(key, (result, set()))[1].update(attributes)
    return merged


def tell(item: pytest.Item, report: pytest.TestReport, noted: Looks, folder: Path | None) -> None:
    """Explain the results to whoever reads a failed report; fail a passed one whose figures are no evidence.

    `folder` is for the report and pictures of the worst images; None keeps and draws none. What became of the test is
    not known yet, as pytest's own handling of expected failures comes after this: `Records` reads it from the final
    reports.
    """
    if report.when == "setup" and report.passed:
        return  # what a fixture has looked at, the test stands on
    looks, before = noted.drain(item, report.when or ""), set(noted.told)
    noted.told = _merged([noted.told, looks])
    seen = {key: noted.told[key] for key in looks}
    if report.passed:
        _fail_without_evidence(report, seen)
    numbers = {key: number for number, key in enumerate(noted.told, 1)}
    told = {}
    for key, (result, _) in seen.items():
        if report.failed or (folder is not None and key not in before):
            told[key] = _told(item, numbers[key], result, folder if report.failed else None)
            record_result(item, {**told[key], "test": item.nodeid, "number": numbers[key]})
    if not report.passed and not noted.told and evaluates(item):
        nothing = {"title": "nothing measured", "explanation": _why(report), "test": item.nodeid, "number": 0}
        record_result(item, nothing)
    if report.failed and told:
        text = "\n\n".join(row["explanation"] for row in told.values())
        if isinstance(report.longrepr, ExceptionRepr):
            report.longrepr.addsection(TITLE, text)  # with the error itself, so that JUnit's XML has it too
        else:
            report.sections.append((TITLE, text))
    if report.when == "teardown":
        noted.told = {}


def _fail_without_evidence(report: pytest.TestReport, seen: Seen) -> None:
    unreliable = [result for result, attributes in seen.values() if result.found and "checks" not in attributes]
    if not unreliable:
        return
    report.outcome = "failed"
    causes = "; ".join(f"{result.title}: {'; '.join(result.found)}" for result in unreliable)
    report.longrepr = (
        f"The test passed on figures that are no evidence ({causes}). Mend the evaluation, or look at the result's "
        "`checks` in the test to judge them yourself."
    )


def _why(report: pytest.TestReport) -> str:
    """What ended a test before it measured anything, in a few lines."""
    shown: Any = report.longrepr
    crash = getattr(shown, "reprcrash", None)
    if crash is not None:
        return str(crash.message)
    return str(shown[2] if isinstance(shown, tuple) else shown)


def _told(item: pytest.Item, number: int, result: Result, folder: Path | None) -> dict[str, Any]:
    """A result as plain data, in words as well, its worst images drawn into `folder`."""
    picture = picture_of(folder, f"{item.nodeid}-{number}", result.title, result.worst_shown)
    shown = (
        f"\n  picture of the worst: {picture.name}" if picture.name else picture.problem and f"\n  {picture.problem}"
    )
    command = f"pytest {shlex.quote(item.nodeid)} --robust-seed={result.seed} --robust-device={result.device}"
    explanation = f"{result.explain()}{shown}\n  in pytest: {command}"
    return {**result.described(), "title": result.title, "picture": picture.name, "explanation": explanation}
