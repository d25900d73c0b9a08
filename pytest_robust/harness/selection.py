"""Which tests run, and with which names: the `robust` marker, ``--defense``, ``--attack`` and parametrisation."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

import pytest

from pytest_robust.errors import RobustError
from pytest_robust.harness.options import Options
from pytest_robust.harness.session import RobustSession, session_of
from pytest_robust.harness.usage import MARKER

DEFAULT_ATTACKS = ("fgsm", "pgd")


class Subject(NamedTuple):
    """What a test is about.

    Args:
        paper: name of the paper's file of figures.
        claim: the claim's id in it ("1D").
        defense: names; empty if the test names none.
        attack: names; empty if the test names none.
    """

    paper: str = ""
    claim: str = ""
    defense: tuple[str, ...] = ()
    attack: tuple[str, ...] = ()


def subject_of(node: pytest.Item | pytest.Function) -> Subject:
    """The subject that the `robust` markers of a test give; the nearest one wins for each key.

    Raises:
        pytest.Collector.CollectError: a key that the marker does not take, or a value that is no name.
    """
    given: dict[str, str | tuple[str, ...]] = {}
    for mark in node.iter_markers(MARKER):
        if mark.args:
            raise _error(node, f"takes no positional arguments, but got {', '.join(map(repr, mark.args))}")
        for key, value in mark.kwargs.items():
            if key not in Subject._fields:
                raise _error(node, f"takes no {key!r}; it takes: {', '.join(Subject._fields)}")
            given.setdefault(key, _value(node, key, value))
    return Subject(**given)  # type: ignore[arg-type]  # _value gives each key its type


def _value(node: pytest.Item, key: str, value: object) -> str | tuple[str, ...]:
    many = key in ("defense", "attack")
    if isinstance(value, str):
        return (value,) if many else value
    if many and isinstance(value, (tuple, list)) and all(isinstance(name, str) for name in value):
        return tuple(value)
    raise _error(node, f"needs {'a name or a tuple of names' if many else 'a string'} as {key!r}, not {value!r}")


def _error(node: pytest.Item, problem: str) -> pytest.Collector.CollectError:
    return pytest.Collector.CollectError(f"{node.nodeid}: the marker robust(...) {problem}.")


def check_markers(items: Iterable[pytest.Item], session: RobustSession) -> None:
    """Raise pytest.Collector.CollectError, naming the test, for a `robust` marker that cannot be right."""
    for item in items:
        subject = subject_of(item)
        try:
            for name in subject.defense:
                session.registries.defenses.check(name)
            for name in subject.attack:
                session.registries.attacks.check(name)
        except RobustError as error:
            raise _error(item, f"names an {error}".rstrip(".")) from None


def parametrize(metafunc: pytest.Metafunc) -> None:
    """Run a test that takes `robust_defense` or `robust_attack` once per name, unless it chose its own names."""
    wanted = [name for name in ("robust_defense", "robust_attack") if name in metafunc.fixturenames]
    own = _parametrized_by_user(metafunc.definition) if wanted else set()
    for fixture in wanted:
        if fixture not in own:
            # Session scope lets pytest run all tests of one defense before it turns to the next.
            metafunc.parametrize(fixture, _names(fixture, metafunc), indirect=True, scope="session")


def _parametrized_by_user(definition: pytest.Function) -> set[str]:
    found: set[str] = set()
    for mark in definition.iter_markers("parametrize"):
        names = mark.args[0] if mark.args else mark.kwargs.get("argnames", ())
        found.update(n.strip() for n in (names.split(",") if isinstance(names, str) else names))
    return found


def _names(fixture: str, metafunc: pytest.Metafunc) -> Sequence[str]:
    """The names that a test runs with: those it is marked with, else those selected, else the default ones."""
    session = session_of(metafunc.config)
    subject, options = subject_of(metafunc.definition), session.options
    if fixture == "robust_attack":
        return subject.attack or options.attack or DEFAULT_ATTACKS
    try:
        return subject.defense or options.defense or session.registries.defenses.names()
    except RobustError as error:
        raise pytest.Collector.CollectError(str(error)) from None


def deselect(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Take out the tests that name a defense or an attack which was not selected; what names none stays."""
    options = session_of(config).options
    if not (options.defense or options.attack):
        return
    if not items:
        return
    kept = [item for item in items if _selected(item, options.defense, options.attack)]
    if len(kept) < len(items):
        staying = set(kept)
        config.hook.pytest_deselected(items=[item for item in items if item not in staying])
        items[:] = kept
    session_of(config).nothing_selected = not kept


def nothing_selected(options: Options) -> str:
    """What to say where ``--defense`` and ``--attack`` have left no test."""
    chosen = [f"--{kind}={','.join(names)}" for kind in ("defense", "attack") if (names := getattr(options, kind))]
    return (
        f"robust: no test runs with {' '.join(chosen)}: each names others, with its marker or in robust.toml. "
        "A paper's claims are about that paper's defenses; to test your own, take the fixture robust_defended."
    )


def _selected(item: pytest.Item, defenses: Collection[str], attacks: Collection[str]) -> bool:
    subject = subject_of(item)
    params = item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
    for selected, marked, fixture in (
        (defenses, subject.defense, "robust_defense"),
        (attacks, subject.attack, "robust_attack"),
    ):
        # A parametrised test is about its parameter, even where the marker lists everything it runs with.
        named = (params[fixture],) if isinstance(params.get(fixture), str) else marked
        if selected and not set(named) <= set(selected):
            return False
    return True
