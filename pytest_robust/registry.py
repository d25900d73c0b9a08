"""One generic registry: names to lazily imported objects, from this package, from entry points, from a user.

Data sets, architectures, attacks, defenses and families are five instances of it (see `catalogue`). It imports nothing
heavy: `names` never imports what is registered, `get` imports exactly the one asked for.
"""

from __future__ import annotations

import difflib
import importlib
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any, Generic, TypeVar

from pytest_robust.errors import DuplicateNameError, UnknownNameError

T = TypeVar("T")


@dataclass(frozen=True)
class Entry(Generic[T]):
    """A registered name: where it came from, and how to load it."""

    name: str
    origin: str
    load: Callable[[], T]


class Registry(Generic[T]):
    """Names to objects of one kind.

    Args:
        kind: the noun for messages, singular ("defense").
        builtin: this package's own entries, name to ``"module:attribute"``.
        group: entry-point group through which other packages register.
        families: prefix to ``"module:factory"``; ``"art:FrameSaliencyAttack"`` asks the factory of ``"art:"`` for
            ``"FrameSaliencyAttack"``. It reaches what another library has without listing it.
    """

    def __init__(
        self,
        kind: str,
        builtin: Mapping[str, str] | None = None,
        group: str | None = None,
        families: Mapping[str, str] | None = None,
    ) -> None:
        self.kind = kind
        self._group = group
        self._families = dict(families or {})
        self._entries: dict[str, Entry[T]] = {}
        for name, target in (builtin or {}).items():
            self._add(Entry(name, target, _importer(target)))

    def register(self, name: str, obj: T, *, origin: str = "") -> T:
        """Register `obj` under `name`; a second registration of a name raises DuplicateNameError."""
        self._add(Entry(name, origin or _caller(), lambda: obj))
        return obj

    def names(self) -> list[str]:
        """All known names, sorted; imports none of the objects."""
        self._discover()
        return sorted(self._entries)

    def get(self, name: str) -> T:
        """The object registered under `name`, imported now if it was not yet.

        Raises:
            UnknownNameError: nobody registered `name`.
        """
        self.check(name)
        for prefix, target in self._families.items():
            if name.startswith(prefix):
                factory: Callable[[str], T] = _importer(target)()
                return factory(name.removeprefix(prefix))
        return self._entries[name].load()

    def check(self, name: str) -> None:
        """Raise UnknownNameError, listing the known names and the nearest, unless `name` is registered."""
        if name in self._entries or name.startswith(tuple(self._families)):
            return
        known = self.names()
        if name in known:
            return
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]!r}?" if near else "."
        everything = ", ".join([*known, *(f"{prefix}NAME" for prefix in self._families)])
        raise UnknownNameError(f"unknown {self.kind} {name!r}{hint} Known: {everything or 'none'}.")

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and (name.startswith(tuple(self._families)) or name in self.names())

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def _add(self, entry: Entry[T]) -> None:
        old = self._entries.get(entry.name)
        if old is not None:
            raise DuplicateNameError(
                f"the {self.kind} {entry.name!r} is registered twice, by {old.origin} and by {entry.origin}: "
                "rename one of them."
            )
        self._entries[entry.name] = entry

    def _discover(self) -> None:
        """Add what other packages registered, once; a clash or a broken entry warns and is skipped."""
        group, self._group = self._group, None
        if group is None:
            return
        for point in entry_points(group=group):
            entry = Entry[T](point.name, f"entry point {point.value!r}", point.load)
            try:
                self._add(self._guarded(entry))
            except DuplicateNameError as error:
                warnings.warn(f"{error} The first is kept.", stacklevel=3)

    def _guarded(self, entry: Entry[T]) -> Entry[T]:
        """Loading a broken plug-in warns and reads as an unknown name, so that it cannot take a run down."""

        def load() -> T:
            try:
                return entry.load()
            except Exception as error:
                warnings.warn(
                    f"the {self.kind} {entry.name!r} ({entry.origin}) failed to import and is skipped: {error!r}",
                    stacklevel=3,
                )
                del self._entries[entry.name]
                raise UnknownNameError(
                    f"the {self.kind} {entry.name!r} could not be imported from {entry.origin}: {error}"
                ) from error

        return Entry(entry.name, entry.origin, load)


def _caller() -> str:
    """File and line of whoever registers: two conftest.py files are told apart by nothing else."""
    frame = sys._getframe(2)
    return f"{os.path.relpath(frame.f_code.co_filename)}:{frame.f_lineno}"


def _importer(target: str) -> Callable[[], Any]:
    module, _, attribute = target.partition(":")

    return lambda: getattr(importlib.import_module(module), attribute)
