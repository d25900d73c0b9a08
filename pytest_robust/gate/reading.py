"""From the text of a robust.toml to a `Gate`: every key is checked, and a mistake names its line."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, cast

from pytest_robust.errors import GateError, RobustError
from pytest_robust.gate.requirements import (
    CAN_DROP,
    COMPARISONS,
    METRICS,
    NEED_ATTACK,
    OUTCOMES,
    Diagnose,
    Gate,
    Requirement,
)
from pytest_robust.gate.toml_lines import Lines
from pytest_robust.gate.toml_values import (
    budget,
    channels,
    count,
    demanded,
    flag,
    norm,
    one_of,
    open_share,
    positive_channels,
    text,
)


class Attacks(NamedTuple):
    """What is known of attacks.

    Args:
        check: raises RobustError for a name that nobody registered.
        parameters: the names of the parameters that an attack takes; asked only for an attack whose requirement has
            keys besides the gate's own, because it may have to import the attack.
        check_parameter: raises RobustError for a value that an attack's parameter cannot have: attack, key, value.
    """

    check: Callable[[str], None]
    parameters: Callable[[str], Collection[str]]
    check_parameter: Callable[[str, str, Any], None]


_GATE: Mapping[str, Callable[[Any], Any]] = {
    "model": text,
    "data": text,
    "mean": channels,
    "std": positive_channels,
    "confidence": open_share,
    "sequential": flag,
    "inconclusive": one_of(OUTCOMES),
    "unreliable": one_of(OUTCOMES),
}
_REQUIRE: Mapping[str, Callable[[Any], Any]] = {
    "name": text,
    "metric": one_of(METRICS),
    "attack": text,
    "norm": norm,
    "eps": budget,
    "sequential": flag,
    **{comparison: partial(demanded, comparison) for comparison in COMPARISONS},
}
_DIAGNOSE: Mapping[str, Callable[[Any], Any]] = {
    "attack": text,
    "norm": norm,
    "eps": budget,
    "images": count,
    "training": text,
}
_TOP = ("gate", "require", "diagnose")
_POSITION = re.compile(r"\s*\(at (?:line (\d+), column \d+|end of document)\)")


def read_gate(path: Path, where: str, attacks: Attacks) -> Gate:
    """The gate that the file at `path` describes.

    Args:
        path: of the file.
        where: how messages call it: its path as the user would write it.
        attacks: what is known of them.

    Raises:
        GateError: it cannot be read, is no TOML, or something in it cannot be right; the message begins with the file
            and the line.
    """
    try:
        content = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise GateError(f"{where} cannot be read: {getattr(error, 'strerror', None) or error}.") from error
    return parse_gate(content, where, attacks)


def parse_gate(content: str, where: str, attacks: Attacks) -> Gate:
    """The gate that a TOML text describes; the arguments and errors are those of `read_gate`."""
    try:
        data = tomllib.loads(content)
    except tomllib.TOMLDecodeError as error:
        found = _POSITION.search(str(error))
        line = found[1] if found and found[1] else str(content.count("\n") + 1)
        raise GateError(f"{where}:{line}: this is no TOML: {_POSITION.sub('', str(error))}.") from None
    file = _File(where, Lines(content))
    file.refuse_unknown(data, (), _TOP, "the file")
    if not isinstance(data.get("gate"), Mapping):
        file.refuse(("gate",), 'there is no table [gate]: it names the model and the data, model = "module:factory".')
    gate = file.values(data["gate"], ("gate",), _GATE, "[gate]")
    for key in ("model", "data"):
        if key not in gate:
            file.refuse(("gate",), f'[gate] lacks {key}: write {key} = "module:factory" or the path of a file.')
    lines = {key: file.lines.of(("gate", key)) for key in gate}
    sequential = gate.pop("sequential", False)
    requirements = tuple(_requirements(data, file, sequential, attacks))
    diagnose = _diagnose(data, file, attacks, requirements) if "diagnose" in data else None
    return Gate(**gate, requirements=requirements, diagnose=diagnose, path=where, lines=lines)


class _File:
    """Where messages point to: the file's name and the lines of its keys.

    Args:
        where: how messages call the file.
        lines: of its keys.
    """

    def __init__(self, where: str, lines: Lines) -> None:
        self.where, self.lines = where, lines

    def refuse(self, path: tuple[str | int, ...], problem: str) -> None:
        """Raise GateError for what stands at `path`."""
        raise GateError(f"{self.where}:{self.lines.of(path)}: {problem}")

    @contextmanager
    def placed(self, path: tuple[str | int, ...]) -> Iterator[None]:
        """Refuse what stands at `path` where this raises RobustError."""
        try:
            yield
        except RobustError as error:
            raise GateError(f"{self.where}:{self.lines.of(path)}: {error}") from None

    def refuse_unknown(
        self, table: Mapping[str, Any], path: tuple[str | int, ...], known: Collection[str], place: str
    ) -> None:
        """Refuse a table with a key that is not `known`, with the nearest one that is."""
        for key in table:
            if key in known:
                continue
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
            hint = f'did you mean "{near[0]}"?' if near else f"known are: {', '.join(sorted(known))}."
            self.refuse((*path, key), f'unknown key "{key}" in {place}; {hint}')

    def values(
        self, table: Mapping[str, Any], path: tuple[str | int, ...], checks: Mapping[str, Callable[[Any], Any]],
        place: str, others: Collection[str] = (),
    ) -> dict[str, Any]:  # fmt: skip
        """The checked values of a table whose keys are those of `checks` and the `others`, which are left out."""
        self.refuse_unknown(table, path, {*checks, *others}, place)
        found = {}
        for key in table.keys() & checks.keys():
            try:
                found[key] = checks[key](table[key])
            except ValueError as error:
                self.refuse((*path, key), f"{key} = {_shown(table[key])} in {place}: {_ended(str(error))}")
        return found


def _requirements(data: Mapping[str, Any], file: _File, sequential: bool, attacks: Attacks) -> Iterator[Requirement]:
    tables = data.get("require")
    if not (isinstance(tables, list) and tables and all(isinstance(table, Mapping) for table in tables)):
        file.refuse(("require",), "there is no [[require]]: each says a metric and what it must be, at_least = 0.9.")
    titles: dict[str, int] = {}
    for i, table in enumerate(cast(list[Mapping[str, Any]], tables)):
        path = ("require", i)
        requirement = _requirement(table, path, file, sequential, attacks)
        first = titles.setdefault(requirement.title, requirement.line)
        if first != requirement.line:
            title = requirement.title
            file.refuse(
                path, f'a second requirement "{title}", after that of line {first}: give one a name of its own.'
            )
        yield requirement


def _requirement(
    table: Mapping[str, Any], path: tuple[str, int], file: _File, sequential: bool, attacks: Attacks
) -> Requirement:
    extra = _extra_keys(table, path, file, attacks, _REQUIRE)
    found = file.values(table, path, _REQUIRE, "[[require]]", extra)
    given = [key for key in COMPARISONS if key in found]
    if len(given) != 1:
        said = f"both {' and '.join(given)}" if given else "nothing to compare with"
        file.refuse(path, f"[[require]] has {said}: give exactly one of {', '.join(COMPARISONS)}.")
    comparison, metric = given[0], found.pop("metric", "accuracy")
    eps_text, eps = found.pop("eps", ("", None))
    requirement = Requirement(
        metric=metric,
        comparison=comparison,
        threshold=found.pop(comparison),
        eps=eps,
        eps_text=eps_text,
        sequential=found.pop("sequential", sequential),
        parameters={key: table[key] for key in table if key in extra},
        line=file.lines.of(path),
        **found,
    )
    _check_fits_together(requirement, path, file)
    return requirement


def _extra_keys(
    table: Mapping[str, Any], path: tuple[str | int, ...], file: _File, attacks: Attacks, own: Mapping[str, Any]
) -> Collection[str]:
    """The parameters that the table's attack takes, asked for only where a key is not the table's `own`."""
    attack = table.get("attack")
    if not isinstance(attack, str):
        return ()
    _check_attack(attack, (*path, "attack"), file, attacks)
    if table.keys() <= own.keys():
        return ()
    extra = set(attacks.parameters(attack)) - own.keys()
    for key in table.keys() & extra:
        with file.placed((*path, key)):
            attacks.check_parameter(attack, key, table[key])
    return extra


def _check_attack(attack: str, path: tuple[str | int, ...], file: _File, attacks: Attacks) -> None:
    """Refuse an attack that nobody registered."""
    with file.placed(path):
        attacks.check(attack)


def _check_fits_together(requirement: Requirement, path: tuple[str, int], file: _File) -> None:
    """Refuse keys that are right each alone, and not together."""
    metric, given = requirement.metric, requirement.eps
    if requirement.attack is None:
        for key, value in (("norm", requirement.norm), ("eps", given)):
            if value is not None:
                file.refuse((*path, key), f'{key} without an attack: name one, attack = "pgd".')
        if metric in NEED_ATTACK:
            file.refuse((*path, "metric"), f'the metric "{metric}" needs an attack: name one, attack = "pgd".')
    _check_budget(given, requirement.norm, (*path, "eps"), file)
    if requirement.comparison == "max_drop_from_baseline" and metric not in CAN_DROP:
        file.refuse(
            (*path, "max_drop_from_baseline"),
            f'a drop of the metric "{metric}" is no loss, or cannot be paired image by image: use '
            f"{' or '.join(sorted(CAN_DROP))}, or at_least and at_most.",
        )


def _check_budget(eps: float | None, norm_name: str | None, path: tuple[str | int, ...], file: _File) -> None:
    """Refuse a budget that images in [0, 1] cannot use up; distances in L2 and L1 can be longer than 1."""
    if eps is not None and eps > 1 and norm_name not in ("l2", "l1", "l0"):
        hint = f'"{eps:g}/255"' if eps <= 255 else "8/255"
        file.refuse(path, f"eps = {eps:g}, but images are in [0, 1], so a budget is in (0, 1]: did you mean {hint}?")


def _diagnose(
    data: Mapping[str, Any], file: _File, attacks: Attacks, requirements: tuple[Requirement, ...]
) -> Diagnose:
    """The attack that is named, or that of the first requirement which has one, as it stands there."""
    path, table = ("diagnose",), data["diagnose"]
    if not isinstance(table, Mapping):
        file.refuse(path, "diagnose must be a table: write [diagnose].")
    extra = _extra_keys(table, path, file, attacks, _DIAGNOSE)
    found = file.values(table, path, _DIAGNOSE, "[diagnose]", extra)
    eps = found.pop("eps", ("", None))[1]
    _check_budget(eps, found.get("norm"), (*path, "eps"), file)
    line = file.lines.of(path)
    if "attack" in found:
        return Diagnose(**found, eps=eps, parameters={key: table[key] for key in table if key in extra}, line=line)
    if eps is not None or "norm" in found:
        file.refuse(path, "[diagnose] has a norm or a budget without an attack: name one.")
    first = next((each for each in requirements if each.attack is not None), None)
    if first is None:
        file.refuse(path, '[diagnose] needs an attack, and no requirement has one: name it, attack = "pgd".')
    like = cast(Requirement, first)
    return Diagnose(cast(str, like.attack), like.norm, like.eps, like.parameters, line=line, **found)


def _ended(text: str) -> str:
    """A sentence with the one mark at its end."""
    return text if text.endswith(("?", ".")) else f"{text}."


def _shown(value: object) -> str:
    """A value as TOML writes it, as far as messages need it."""
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)
