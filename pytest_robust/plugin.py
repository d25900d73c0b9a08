"""The pytest11 module: hooks and nothing else; each imports what it needs when pytest calls it.

It imports only pytest and the standard library, because every pytest run of an environment with this package pays
for it.
"""

from __future__ import annotations

import copy
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

GATE_FILE = "robust.toml"
FIXTURES = ("session", "datasets", "models", "attacks", "defenses", "robust")


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Declare the hook for a user's own registrations."""
    from pytest_robust.harness import hookspecs

    pluginmanager.add_hookspecs(hookspecs)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the command line and the ini keys."""
    from pytest_robust.harness.options import add_options

    add_options(parser)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests(
    early_config: pytest.Config, parser: pytest.Parser, args: list[str]
) -> Generator[None, None, None]:
    """Spell out our short names: before conftest.py files load, as pytest looks for them; after, as they stand."""
    from pytest_robust.harness.options import spelled_out

    early = spelled_out(args, early_config)
    if early != args:
        # Or else pytest takes the value in `--device cpu` for the folder to load conftest.py from.
        early_config.known_args_namespace = parser.parse_known_args(early, copy.copy(early_config.option))
    yield
    args[:] = spelled_out(args, early_config)


def pytest_configure(config: pytest.Config) -> None:
    """Check the options, open the session's state and bring in the fixtures."""
    from pytest_robust.harness.session import open_session
    from pytest_robust.harness.usage import MARKER_HELP

    # Not through `pytest_plugins`: pytest reads the metadata of every installed package once per name in that list.
    for kind in FIXTURES:
        config.pluginmanager.import_plugin(f"pytest_robust.fixtures.{kind}")
    config.addinivalue_line("markers", MARKER_HELP)
    open_session(config)


def pytest_report_header(config: pytest.Config) -> str | None:
    """Name device, data set, scale and cache, if an option of this plugin is set."""
    from pytest_robust.harness.session import session_of

    session = session_of(config)
    if not session.options.given:
        return None
    from pytest_robust.harness.terminal import header

    return header(session)


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Collect a robust.toml: a test for each requirement on a model."""
    if file_path.name != GATE_FILE:
        return None
    from pytest_robust.harness.gates import GateFile

    return GateFile.from_parent(parent, path=file_path)


@pytest.hookimpl(wrapper=True)
def pytest_pycollect_makeitem(collector: pytest.Module | pytest.Class) -> Generator[None, Any, Any]:
    """Check the `robust` marker of every test function that has one."""
    made = yield
    from pytest_robust.harness.usage import is_marked

    marked = [item for item in made if is_marked(item)] if isinstance(made, list) else []
    if marked:
        from pytest_robust.harness.selection import check_markers
        from pytest_robust.harness.session import session_of

        check_markers(marked, session_of(collector.config))
    return made


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run tests once per selected defense and attack."""
    if not {"robust_defense", "robust_attack"}.isdisjoint(metafunc.fixturenames):
        from pytest_robust.harness.selection import parametrize

        parametrize(metafunc)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect what ``--defense`` and ``--attack`` leave out."""
    from pytest_robust.harness.session import session_of

    if session_of(config).options.given:
        from pytest_robust.harness.selection import deselect

        deselect(config, items)


def pytest_report_collectionfinish(config: pytest.Config, items: list[pytest.Item]) -> str | None:
    """Name device, data set, scale and cache here, if only the collected tests show that they matter."""
    from pytest_robust.harness.session import session_of
    from pytest_robust.harness.usage import is_robust

    session = session_of(config)
    if session.nothing_selected:
        from pytest_robust.harness.selection import nothing_selected

        return nothing_selected(session.options)
    if session.options.given or config.get_verbosity() < 0 or not any(map(is_robust, items)):
        return None
    from pytest_robust.harness.terminal import header

    return header(session)


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[object], request: pytest.FixtureRequest
) -> Generator[None, object, object]:
    """Note which fixture of a wider scope has looked at a result: every test that uses it stands on the figures."""
    if fixturedef.scope == "function":
        return (yield)
    from pytest_robust.harness.session import session_of

    with session_of(request.config).looks.kept_for(fixturedef):
        return (yield)


def pytest_fixture_post_finalizer(fixturedef: pytest.FixtureDef[object], request: pytest.FixtureRequest) -> None:
    """Let go of the results that a fixture has looked at."""
    from pytest_robust.harness.session import session_of

    session_of(request.config).looks.forget(fixturedef)


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show mistakes as one message, and put what was recorded on the report; inside pytest's own xfail handling."""
    if call.excinfo is not None:
        from pytest_robust.harness.pairs import save_failed_pair

        save_failed_pair(item, call.excinfo.value)  # before the report is made, which shows where they are
    report = yield
    from pytest_robust.harness.records import attach
    from pytest_robust.harness.session import session_of

    session = session_of(item.config)
    if call.excinfo is not None:
        from pytest_robust.harness.failures import mend

        mend(item, call.excinfo, report, session)
    if session.looks or not report.passed:
        from pytest_robust.harness.looks import tell

        tell(item, report, session.looks, session.options.report)
    attach(item, report, session.drain())
    return report


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the baseline and the reports that the options ask for."""
    from pytest_robust.harness.session import session_of

    state = session_of(session.config)
    if state.options.save_baseline is not None:
        from pytest_robust.harness.saving import save_baseline

        failed = session.exitstatus not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
        if not save_baseline(state, failed=failed) and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
    if state.options.report is not None:
        from pytest_robust.harness.terminal import write_report

        write_report(state, _stopped(session))


def _stopped(session: pytest.Session) -> str:
    """Why not all tests ran, in a few words; "" where they did."""
    ends = (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.NO_TESTS_COLLECTED)
    if session.exitstatus not in ends:
        return "interrupted"
    early = session.shouldfail or session.shouldstop
    return str(early) if isinstance(early, str) else "interrupted" if early else ""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the claims with their verdicts, and what the run spent."""
    from pytest_robust.harness.session import session_of

    session = session_of(config)
    records = session.records
    recorded = records.claims or records.requirements or records.diagnoses or records.events or records.missing
    if recorded or session.baseline_note:
        from pytest_robust.harness.terminal import summarise

        summarise(terminalreporter, session)
