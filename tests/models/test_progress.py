"""Progress: a bar on a terminal, a line per step elsewhere, nothing when quiet."""

from __future__ import annotations

import io

from pytest_robust.models.progress import progress_for


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(stream: io.StringIO, verbosity: int) -> str:
    progress = progress_for(stream, verbosity)
    progress.begin("training mine", 3, 1)
    progress.step({"loss": 0.123456, "accuracy": 1.0})
    progress.step({})
    progress.end()
    return stream.getvalue()


def test_a_log_gets_one_line_per_step() -> None:
    assert shown(io.StringIO(), 0) == "training mine 2/3 loss 0.1235 accuracy 1\ntraining mine 3/3\n"


def test_a_terminal_gets_a_bar_that_goes_away() -> None:
    text = shown(Terminal(), 0)
    assert "training mine" in text
    assert "1/3" in text
    assert text.endswith("\r")


def test_quiet_means_nothing() -> None:
    assert shown(io.StringIO(), -1) == shown(Terminal(), -1) == ""


def test_a_second_piece_of_work_starts_anew() -> None:
    stream = io.StringIO()
    progress = progress_for(stream)
    for title in ("one", "two"):
        progress.begin(title, 1)
        progress.step({})
        progress.end()
    assert stream.getvalue() == "one 1/1\ntwo 1/1\n"
