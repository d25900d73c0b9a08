"""Progress of training reaches the terminal past pytest's capture, a line each, and is silent under -q."""

from __future__ import annotations

import pytest

TEST = """
    from pytest_robust.harness.progress import terminal_progress

    def test_trains(pytestconfig):
        progress = terminal_progress(pytestconfig)
        print("captured by pytest")
        if progress is not None:
            progress.begin("training toy", 2)
            progress.step({"loss": 0.5})
            progress.end()
"""


def test_a_line_per_epoch(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(TEST)
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.stdout.fnmatch_lines(["training toy 1/2 loss 0.5", "*1 passed*"])
    result.stdout.no_fnmatch_line("*captured by pytest*")


def test_nothing_when_quiet(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(TEST)
    result = pytester.runpytest_subprocess("-q", "-p", "no:cacheprovider")
    result.stdout.no_fnmatch_line("*training toy*")
    result.stdout.fnmatch_lines(["*1 passed*"])
