"""summary.md: a comment for a pull request that shows the verdicts, and folds the rest away."""

from __future__ import annotations

import re

import pytest

from pytest_robust.reports.gate_table import headline, requirement_counts, requirements_table
from pytest_robust.reports.pull_request import LONGEST, write_summary

HOLDS = {
    "requirement": "clean accuracy >= 0.9", "verdict": "holds", "outcome": "pass", "measured": "0.95 (19/20)",
    "images": 20, "images_used": 20, "attack": None, "baseline": None, "not_compared": "", "explanation": "all well",
    "model": "m:model", "data": "m:data",
}  # fmt: skip
WORSE = {
    **HOLDS, "requirement": "pgd accuracy >= 0.5", "verdict": "fails", "outcome": "fail", "attack": "pgd",
    "baseline": {"worse": True, "shown": "0.900 → 0.700, worse by +0.200"}, "explanation": "a ``` fence | and a pipe",
}  # fmt: skip
BROKEN = {"requirement": "square accuracy >= 0.5", "verdict": "error", "outcome": "fail", "reason": "no model"}


def written(tmp_path, rows, claims=(), diagnoses=(), settings=None, results=()):
    settings = settings or {"dataset": "digits", "scale": "quick", "seed": 3, "defenses": []}
    path = write_summary(tmp_path, rows, claims, diagnoses, [], settings, {"torch": "2"}, results)
    return path.read_text(encoding="utf-8")


def test_the_headline_and_the_table_come_first_and_details_are_folded(tmp_path):
    text = written(tmp_path, [HOLDS, WORSE, BROKEN])
    assert text.startswith(
        "## Robustness: 2 of 3 requirements not met\n\n3 requirements: 1 holds, 1 fails, 1 could not be"
    )
    assert "| ✅" in text
    assert text.count("| ❌") == 2
    worse = text.index("**Worse than the baseline**\n\n- pgd accuracy >= 0.5: 0.900 → 0.700, worse by +0.200")
    assert text.index("| ✅") < worse < text.index("<details>")
    assert "<details><summary>square accuracy >= 0.5: error</summary>\n\n```text\nno model\n```" in text
    assert "````text\na ``` fence | and a pipe\n````" in text
    assert "all well" not in text, "what holds needs no explanation"
    assert text.count("<details>") == text.count("</details>") == 3


def test_a_gate_shows_its_own_data_and_not_those_of_claims(tmp_path):
    text = written(tmp_path, [HOLDS])
    assert text.startswith("## Robustness: all 1 requirements met")
    assert "m:data" in text
    assert "digits" not in text
    assert "baseline" not in text


def test_claims_and_checks_have_their_place(tmp_path):
    claim = {"paper": "p", "claim": "1", "verdict": "holds", "statement": "s"}
    text = written(tmp_path, [], [claim], [{"title": "m under pgd", "markdown": "| check |"}])
    assert text.startswith("## Claims\n\n1 claim: 1 holds.")
    assert "<details><summary>Checks on the evaluation: m under pgd</summary>\n\n| check |\n\n</details>" in text
    assert "digits" in text


def test_a_comment_fits_and_no_fold_stays_open(tmp_path):
    rows = [{**WORSE, "explanation": "x" * 9000} for _ in range(20)]
    text = written(tmp_path, rows)
    assert len(text) <= LONGEST + 100
    assert len(re.findall("<details>", text)) == len(re.findall("</details>", text)) > 0
    assert text.endswith("(More is in results.json.)\n")


def test_a_table_that_is_too_long_loses_rows_and_no_headline(tmp_path):
    rows = [{**HOLDS, "requirement": f"clean accuracy of part {i} >= 0.9"} for i in range(900)]
    looked = {"test": "test_a.py::test_x", "outcome": "failed", "title": "clean accuracy 0.3", "explanation": "why"}
    text = written(tmp_path, [*rows, WORSE], [{"paper": "p", "claim": "1", "verdict": "holds"}], results=[looked])
    assert len(text) <= LONGEST
    headlines = [line for line in text.splitlines() if line.startswith("## ")]
    assert headlines == [
        "## Robustness: 1 of 901 requirements not met", "## Robustness: 1 of 1 tests failed", "## Claims"
    ]  # fmt: skip
    assert "901 requirements: 900 hold, 1 fails." in text
    assert "| ❌" in text, "what fails is left out last"
    left = re.search(r"\((\d+) of 901 rows are left out", text)
    assert left is not None
    assert int(left[1]) + text.count("clean accuracy of part") == 900


UNDECIDED = {**HOLDS, "verdict": "inconclusive", "outcome": "skip"}
DOUBTFUL = {**HOLDS, "verdict": "unreliable", "outcome": "pass"}
SAVED = {**HOLDS, "verdict": "information", "outcome": "skip"}


@pytest.mark.parametrize(
    ("rows", "diagnoses", "sentence"),
    [
        ([HOLDS, HOLDS], [{"outcome": "pass"}], "all 2 requirements met"),
        ([HOLDS, HOLDS, UNDECIDED], [], "2 of 3 requirements met, 1 inconclusive"),
        ([HOLDS, DOUBTFUL, SAVED], [], "1 of 3 requirements met, 1 unreliable, 1 saved for the first time"),
        ([HOLDS, WORSE, UNDECIDED], [], "1 of 3 requirements not met, 1 inconclusive"),
        ([HOLDS], [{"outcome": "fail"}], "all 1 requirements met; [diagnose] failed"),
        ([HOLDS], [{"outcome": "skip"}], "all 1 requirements met; [diagnose] skipped"),
        ([], [{"outcome": "fail", "error": "no model"}], "[diagnose] could not be run"),
        ([], [{"outcome": "pass"}], ""),
    ],
)
def test_only_what_holds_is_met_and_unsound_checks_are_named(tmp_path, rows, diagnoses, sentence):
    assert headline(rows, diagnoses) == sentence
    text = written(tmp_path, rows, diagnoses=[{"title": "m", "markdown": "why", **each} for each in diagnoses])
    assert text.startswith(f"## Robustness: {sentence}\n" if sentence else "<details><summary>Checks on")


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([HOLDS], "1 requirement: 1 holds"),
        ([HOLDS, HOLDS, WORSE], "3 requirements: 2 hold, 1 fails"),
        (
            [HOLDS, {**WORSE, "images_used": 5}],
            "2 requirements: 1 holds, 1 fails; 15 of 20 images did not have to be attacked",
        ),
        ([BROKEN], "1 requirement: 1 could not be measured"),
    ],
)
def test_requirements_are_counted(rows, sentence):
    assert requirement_counts(rows) == sentence


def test_a_budget_that_nobody_wrote_is_shown(tmp_path):
    silent = {**WORSE, "parameters": {"norm": "inf", "eps": 0.1}}
    said = {**WORSE, "requirement": "pgd eps=8/255 accuracy >= 0.5", "parameters": {"eps": 8 / 255}}
    for text in (requirements_table([HOLDS, silent, said]), written(tmp_path, [HOLDS, silent, said])):
        assert text.count("pgd accuracy >= 0.5 (eps=0.1)") == 1
        assert text.count("(eps=") == 1


def test_an_outcome_that_is_not_the_verdicts_own_is_said():
    passed = {**WORSE, "verdict": "inconclusive", "outcome": "pass", "images_used": 5}
    table = requirements_table([HOLDS, passed])
    assert "inconclusive (pass)" in table
    assert "5 of 20" in table
    assert "baseline" in table
    assert "baseline" not in requirements_table([HOLDS]), "a column that says nothing is left out"


def test_tests_of_the_fixture_are_named_with_what_they_looked_at(tmp_path):
    row = {"test": "test_a.py::test_x[a|b]", "outcome": "failed", "title": "robust accuracy 0.3", "explanation": "why"}
    passed = {**row, "test": "test_a.py::test_y", "outcome": "passed", "explanation": "all well"}
    text = written(tmp_path, [], results=[row, {**row, "title": "clean accuracy 0.9"}, passed])
    assert text.startswith("## Robustness: 1 of 2 tests failed")
    assert text.count("| ❌") == 2
    assert text.count("| ✅") == 1
    assert "clean accuracy 0.9" in text
    assert "```text\nwhy\n```" in text
    assert "all well" not in text
    assert "all 1 tests passed" in written(tmp_path, [], results=[passed])
