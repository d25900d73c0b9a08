"""The ledger: what a session trained, loaded, crafted, reused, evaluated and studied, and the seconds each took."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

Event = Literal["trained", "loaded", "crafted", "reused", "evaluated", "studied"]


@dataclass
class Stopwatch:
    """Seconds since it was started, frozen when its block ends."""

    started: float = field(default_factory=time.perf_counter)
    seconds: float = 0.0


@contextmanager
def stopwatch() -> Iterator[Stopwatch]:
    """Time a block: ``with stopwatch() as watch: …`` and then ``watch.seconds``."""
    watch = Stopwatch()
    try:
        yield watch
    finally:
        watch.seconds = time.perf_counter() - watch.started


@dataclass
class Ledger:
    """Plain-dict events in the order in which they happened."""

    events: list[dict[str, Any]] = field(default_factory=list)
    _drained: int = 0

    def note(self, event: Event, name: str, seconds: float, **details: Any) -> None:
        """Add one event."""
        self.events.append({"event": event, "name": name, "seconds": round(seconds, 4), **details})

    def count(self, event: Event) -> int:
        """How many events of a kind there were."""
        return sum(e["event"] == event for e in self.events)

    def drain(self) -> list[dict[str, Any]]:
        """The events since the last call."""
        new, self._drained = self.events[self._drained :], len(self.events)
        return new
