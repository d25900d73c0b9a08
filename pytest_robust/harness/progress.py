"""Training progress on the terminal of a pytest run, past pytest's capture."""

from __future__ import annotations

from typing import TextIO, cast

import pytest

from pytest_robust.models.progress import Progress, progress_for


class TerminalStream:
    """The terminal that pytest reports to, as a stream that a progress bar can write to while a test runs.

    Args:
        config: of the session.
        reporter: pytest's own reporter, which knows whether a line is begun.
    """

    def __init__(self, config: pytest.Config, reporter: pytest.TerminalReporter) -> None:
        self._reporter = reporter
        self._capture = config.pluginmanager.getplugin("capturemanager")

    def isatty(self) -> bool:
        """Whether a person watches."""
        return bool(self._reporter.isatty)

    def write(self, text: str) -> int:
        """Write below what pytest has begun to write, with its capture off for as long as that takes."""
        if self._capture is None:
            self._write(text)
        else:
            with self._capture.global_and_fixture_disabled():
                self._write(text)
        return len(text)

    def _write(self, text: str) -> None:
        self._reporter.ensure_newline()
        self._reporter.write(text, flush=True)

    def flush(self) -> None:
        """Everything is flushed when it is written."""


def terminal_progress(config: pytest.Config) -> Progress | None:
    """Progress for the terminal of this process; None on an xdist worker, which has none."""
    reporter: pytest.TerminalReporter | None = config.pluginmanager.getplugin("terminalreporter")
    if reporter is None:
        return None
    return progress_for(cast(TextIO, TerminalStream(config, reporter)), config.get_verbosity())
