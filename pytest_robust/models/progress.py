"""What a long computation tells whoever waits: a bar on a terminal, a line per step elsewhere, or nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, TextIO

from tqdm import tqdm


class Progress(Protocol):
    """Told about one piece of work at a time: ``begin``, ``step`` for each unit done, ``end`` in every case."""

    def begin(self, title: str, total: int, done: int = 0) -> None:
        """Work called `title` starts; it has `total` units, of which `done` are there already (a resumed run)."""

    def step(self, figures: Mapping[str, float]) -> None:
        """One more unit is done; `figures` are its results, as people should read them."""

    def end(self) -> None:
        """The work is over, finished or not."""


class SilentProgress:
    """Says nothing."""

    def begin(self, title: str, total: int, done: int = 0) -> None:
        """Say nothing."""

    def step(self, figures: Mapping[str, float]) -> None:
        """Say nothing."""

    def end(self) -> None:
        """Say nothing."""


class LineProgress:
    """One line per unit, for logs."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._title, self._total, self._done = "", 0, 0

    def begin(self, title: str, total: int, done: int = 0) -> None:
        """Remember what the lines are about."""
        self._title, self._total, self._done = title, total, done

    def step(self, figures: Mapping[str, float]) -> None:
        """Write ``title 3/50 loss 0.12 accuracy 0.96``."""
        self._done += 1
        text = "".join(f" {name} {value:.4g}" for name, value in figures.items())
        self._stream.write(f"{self._title} {self._done}/{self._total}{text}\n")
        self._stream.flush()

    def end(self) -> None:
        """Every line is already out."""


class BarProgress:
    """A tqdm bar that disappears when its work is over."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._bar: tqdm[Any] | None = None

    def begin(self, title: str, total: int, done: int = 0) -> None:
        """Show the bar."""
        self._bar = tqdm(total=total, initial=done, desc=title, file=self._stream, leave=False, dynamic_ncols=True)

    def step(self, figures: Mapping[str, float]) -> None:
        """Move it by one, with the newest figures beside it."""
        if self._bar is not None:
            self._bar.set_postfix({name: f"{value:.4g}" for name, value in figures.items()}, refresh=False)
            self._bar.update()

    def end(self) -> None:
        """Take it away."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def progress_for(stream: TextIO, verbosity: int = 0) -> Progress:
    """A bar if `stream` is a terminal, lines if it is not, and nothing if `verbosity` is negative (``-q``)."""
    if verbosity < 0:
        return SilentProgress()
    return BarProgress(stream) if stream.isatty() else LineProgress(stream)
