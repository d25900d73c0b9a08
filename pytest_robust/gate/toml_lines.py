"""On which line of a TOML text each key stands, which tomllib does not tell; the lexing stays tomllib's."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

#: Keys and positions in arrays of tables that lead to a value: ("require", 1, "at_least").
Path = tuple[str | int, ...]

_ARRAY_HEADER = re.compile(r"[ \t]*\[\[")
_HEADER = re.compile(r"[ \t]*\[")


class Lines:
    """Line numbers, from 1, of the keys and table headers of a valid TOML text.

    Args:
        text: which tomllib accepts.
    """

    def __init__(self, text: str) -> None:
        self._lines: dict[Path, int] = {}
        #: How often each array of tables was opened so far.
        self._opened: dict[Path, int] = {}
        table: Path = ()
        for line, statement in _statements(text):
            value = tomllib.loads(statement)
            if not value:  # blank, or a comment
                continue
            if _HEADER.match(statement):
                table = self._enter(_only_path(value), line, array=_ARRAY_HEADER.match(statement) is not None)
            else:
                self._note(table, value, line)

    def of(self, path: Path) -> int:
        """The line of `path`, or of the nearest thing around it that has one; 1 if nothing has."""
        while path and path not in self._lines:
            path = path[:-1]
        return self._lines.get(path, 1)

    def _enter(self, keys: tuple[str, ...], line: int, *, array: bool) -> Path:
        """The path of the table that a header opens: a key of an array of tables stands for its last element."""
        path: Path = ()
        for i, key in enumerate(keys):
            path = (*path, key)
            if array and i == len(keys) - 1:
                self._opened[path] = self._opened.get(path, 0) + 1
            if path in self._opened:
                path = (*path, self._opened[path] - 1)
        self._lines.setdefault(path, line)
        return path

    def _note(self, table: Path, value: Mapping[str, Any], line: int) -> None:
        for key, inner in value.items():
            self._lines.setdefault((*table, key), line)
            if isinstance(inner, Mapping):
                self._note((*table, key), inner, line)


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """Each header, assignment, comment or blank line with the line it begins on.

    A statement that goes on over several lines, a string or an array, is no TOML before its last one.
    """
    begun, held = 1, ""
    for number, line in enumerate(text.split("\n"), start=1):
        held = f"{held}\n{line}" if held else line
        try:
            tomllib.loads(held)
        except tomllib.TOMLDecodeError:
            continue
        yield begun, held
        begun, held = number + 1, ""


def _only_path(value: Mapping[str, Any]) -> tuple[str, ...]:
    """The keys of a header, which tomllib reads as tables within tables that hold nothing else."""
    keys: list[str] = []
    inner: Any = value
    while isinstance(inner, Mapping) and inner:
        key, inner = next(iter(inner.items()))
        keys.append(key)
    return tuple(keys)
