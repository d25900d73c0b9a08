"""A report folder never shows the verdicts of an earlier run for those of one that did not finish."""

from __future__ import annotations

import pytest

REPORT = "--robust-report=report"
HOLDS = "def test(robust_record): robust_record(FakeClaim())"


@pytest.fixture
def report(suite, pytester):
    """The report folder after a run in which a claim held."""
    suite(HOLDS, REPORT).assert_outcomes(passed=1)
    folder = pytester.path / "report"
    assert "1 claim: 1 holds" in (folder / "summary.md").read_text(encoding="utf-8")
    assert (folder / "results.json").is_file()
    return folder


@pytest.mark.parametrize("option", ["--robust-seed=x", "--dataset=nothing", "--robust-baseline=nowhere.json"])
def test_a_run_that_ends_at_its_options_leaves_no_earlier_verdicts(suite, report, option):
    assert suite(HOLDS, REPORT, option).ret == pytest.ExitCode.USAGE_ERROR
    assert (report / "summary.md").read_text(encoding="utf-8").startswith("## Robustness: the run did not finish\n")
    assert not (report / "results.json").exists()


def test_a_run_that_is_killed_leaves_no_earlier_verdicts(suite, pytester, report):
    pytester.makepyfile(test_it="import os\ndef test(): os._exit(9)")
    pytester.runpytest_subprocess(REPORT, "-p", "no:cacheprovider")
    assert "1 claim" not in (report / "summary.md").read_text(encoding="utf-8")
    assert not (report / "results.json").exists()


@pytest.mark.parametrize("option", ["--help", "--markers", "--collect-only"])
def test_who_only_asks_keeps_the_report(suite, report, option):
    before = [path.read_bytes() for path in sorted(report.iterdir())]
    suite(HOLDS, REPORT, option)
    assert [path.read_bytes() for path in sorted(report.iterdir())] == before


def test_files_of_somebody_else_stay_until_the_report_is_written(suite, pytester):
    folder = pytester.mkdir("report")
    (folder / "summary.md").write_text("# My notes")
    (folder / "results.json").write_text('{"mine": 1}')
    assert suite(HOLDS, REPORT, "--robust-seed=x").ret == pytest.ExitCode.USAGE_ERROR
    assert (folder / "summary.md").read_text() == "# My notes"
    assert (folder / "results.json").read_text() == '{"mine": 1}'


def test_what_cannot_be_collected_is_said(suite, pytester, xdist_args):
    pytester.makepyfile(test_broken="import nothing_of_that_name")
    suite(HOLDS, REPORT, "--continue-on-collection-errors", *xdist_args).assert_outcomes(passed=1, errors=1)
    text = (pytester.path / "report" / "summary.md").read_text(encoding="utf-8")
    assert text.startswith("## Robustness: 1 file could not be collected\n")
    assert "- test_broken.py" in text
    assert "1 claim: 1 holds" in text


@pytest.mark.parametrize(
    ("end", "words"),
    [("import pytest; pytest.exit('enough')", "interrupted"), ("assert False", "stopping after 1 failures")],
)
def test_a_run_that_is_stopped_says_so(suite, pytester, end, words):
    suite(f"{HOLDS}\ndef test_end():\n    {end}\ndef test_open(): pass", REPORT, "-x", "-p", "no:xdist")
    text = (pytester.path / "report" / "summary.md").read_text(encoding="utf-8")
    assert text.startswith(f"## Robustness: the run did not finish ({words})\n")
    assert "1 claim: 1 holds" in text
