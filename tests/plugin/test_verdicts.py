"""Claims: the outcome of the test, the table, JUnit's XML and results.json; the same with and without xdist."""

from __future__ import annotations

import json
import os
from xml.etree import ElementTree

import pytest

from pytest_robust.harness.records import Records

CLAIMS = """
import pytest

def test_holds(robust_classifier, robust_record): robust_record(FakeClaim("1A"))
def test_fails(robust_record): robust_record(FakeClaim("1B", "fails", reason="the whole interval lies below 0.5"))
def test_open(robust_record): robust_record(FakeClaim("1C", "inconclusive", reason="20 images cannot tell it from 0.3"))
def test_unsound(robust_record): robust_record(FakeClaim("1D", "unreliable", reason="gradient masking"))

@pytest.mark.xfail(reason="known")
def test_known(robust_record): robust_record(FakeClaim("1E", "fails"))

def test_other_paper(robust_defended, robust_record): robust_record(FakeClaim("2", paper="other23"))
def test_two(robust_record):
    robust_record(FakeClaim("3A", value=None, lower=None, upper=None))
    robust_record(FakeClaim("3B"))
"""
OPTIONS = ("--defense=wall", "--device=cpu")


def test_verdicts_are_outcomes_and_the_table_is_whole(suite, xdist_args):
    result = suite(CLAIMS, *OPTIONS, *xdist_args)
    result.assert_outcomes(passed=3, failed=2, skipped=1, xfailed=1)
    out = result.stdout.str()
    assert out.count("adversarial robustness") == 1
    table = [line for line in result.outlines if line.startswith(("dustbin17 ", "other23 "))]
    assert [line.split()[:2] for line in table] == [
        *(["dustbin17", claim] for claim in ("1A", "1B", "1C", "1D", "1E", "3A", "3B")),
        ["other23", "2"],
    ]
    verdicts = [line.split("  ")[-1].strip() for line in table]
    assert verdicts == ["holds", "fails", "inconclusive", "unreliable", "fails (xfailed)", "holds", "holds", "holds"]
    assert "0.378 (378/1000, 95% CI 0.348–0.409)" in table[0]
    assert max(map(len, table)) <= 160
    assert "8 claims: 4 hold, 2 fail, 1 inconclusive, 1 unreliable" in out
    assert "trained 1 model in 2 s, crafted 1 adversarial set in 1 s" in out


def test_a_failed_claim_is_explained_in_a_sentence_without_a_traceback(suite):
    result = suite(CLAIMS, *OPTIONS, "-rfs")
    result.stdout.fnmatch_lines(
        [
            "claim dustbin17 1B fails: the defense rejects; measured 0.378 *, needed >= 0.3 (shield, digits, fgsm, "
            "transfer); the paper gives 0.41; the whole interval lies below 0.5.",
            "FAILED test_it.py::test_fails - *claim dustbin17 1B*",
            "SKIPPED*test_it.py:*: claim dustbin17 1C is inconclusive: *20 images cannot tell it from 0.3.",
        ]
    )
    assert "verdicts.py" not in result.stdout.str()
    assert "robust_record(" not in result.stdout.str()


def test_figures_are_properties_in_junits_xml(pytester, suite, xdist_args):
    suite(CLAIMS, *OPTIONS, *xdist_args, "--junitxml=out.xml")
    cases = {case.get("name"): case for case in ElementTree.parse(pytester.path / "out.xml").iter("testcase")}
    found = {p.get("name"): p.get("value") for p in cases["test_fails"].iter("property")}
    assert found == {
        "robust_paper": "dustbin17", "robust_claim": "1B", "robust_defense": "shield", "robust_attack": "fgsm",
        "robust_dataset": "digits", "robust_value": "0.378", "robust_lower": "0.348", "robust_upper": "0.409",
        "robust_n": "1000", "robust_comparison": ">=", "robust_threshold": "0.3", "robust_verdict": "fails",
    }  # fmt: skip
    two = [p.get("value") for p in cases["test_two"].iter("property") if p.get("name") == "robust_claim"]
    assert two == ["3A", "3B"]


def test_results_json_holds_claims_settings_and_what_was_spent(pytester, suite, xdist_args):
    suite(CLAIMS, *OPTIONS, *xdist_args, "--robust-report=deep/report", "--robust-seed=3")
    text = (pytester.path / "deep" / "report" / "results.json").read_text(encoding="utf-8")
    results = json.loads(text)
    sections = {"claims", "requirements", "diagnoses", "results", "evaluations", "studies"}
    assert set(results) == {"schema", "settings", "versions", "spent", *sections}
    assert [c["claim"] for c in results["claims"]] == ["1A", "1B", "1C", "1D", "1E", "3A", "3B", "2"]
    assert results["claims"][1]["test"] == "test_it.py::test_fails"
    machine = {"cpus": os.cpu_count(), "threads": os.environ.get("OMP_NUM_THREADS", "")}
    assert results["settings"] == machine | {
        "dataset": "digits", "scale": "quick", "device": "cpu", "seed": 3, "family": None,
        "precision": [], "defenses": ["wall"], "attacks": [],
    }  # fmt: skip
    assert (results["spent"]["models_trained"], results["spent"]["training_seconds"]) == (1, 2.0)
    assert str(pytester.path) not in text


def test_a_report_folder_that_vanishes_fails_the_run_with_the_reason(pytester, suite):
    code = "def test(pytestconfig): (pytestconfig.rootpath / 'report').write_text('a file now')"
    result = suite(code, "--robust-report=report")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "cannot be written" in result.stderr.str()
    assert "Traceback" not in result.stdout.str() + result.stderr.str()


def test_listing_tests_leaves_an_earlier_report_alone(pytester, suite):
    report = pytester.mkdir("report") / "results.json"
    report.write_text("earlier")
    suite(CLAIMS, "--robust-report=report", "--collect-only")
    assert report.read_text() == "earlier"


def test_quiet_is_one_line_and_very_quiet_is_none(suite):
    quiet = suite(CLAIMS, *OPTIONS, "-q").stdout.str()
    assert "robust: 8 claims: 4 hold, 2 fail, 1 inconclusive, 1 unreliable; trained 1 model" in quiet
    assert "====== adversarial robustness" not in quiet
    assert "8 claims" not in suite(CLAIMS, *OPTIONS, "-qq").stdout.str()


def test_a_run_without_claims_says_what_it_spent_or_nothing_at_all(suite):
    assert "trained 1 model in 2 s" in suite("def test(robust_classifier): pass").stdout.str()
    assert "robust" not in suite("def test(): pass").stdout.str().partition("collected")[2]


def test_a_test_that_is_run_again_counts_once(pytester, suite):
    """As pytest-rerunfailures does it: the protocol of one test runs twice."""
    pytester.makepyfile(
        twice="from _pytest.runner import runtestprotocol\n"
        "def pytest_runtest_protocol(item, nextitem):\n"
        "    runtestprotocol(item, nextitem=nextitem)\n"
    )
    pytester.syspathinsert()
    result = suite("def test(robust_record): robust_record(FakeClaim())", "-p", "twice", "-p", "no:xdist")
    result.assert_outcomes(passed=2)
    assert "1 claim: 1 holds" in result.stdout.str()


def test_only_a_claim_can_be_recorded(suite):
    result = suite("def test(robust_record): robust_record(0.5)")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E*TypeError: robust_record takes a Claim, not float."])


def test_numpy_numbers_cross_processes(suite):
    code = "import numpy\ndef test(robust_record): robust_record(FakeClaim(value=numpy.float32(0.5), n=numpy.int64(3)))"
    result = suite(code, "-n1")
    result.assert_outcomes(passed=1)
    assert "1 claim: 1 holds" in result.stdout.str()


def test_claims_of_subtests_are_all_kept(suite, xdist_args):
    if pytest.version_tuple < (9,):
        pytest.skip("subtests came with pytest 9")
    tests = """
def test_all(robust_record, subtests):
    for claim, verdict in (("1D", "fails"), ("2D", "holds"), ("3D", "holds")):
        with subtests.test(claim):
            robust_record(FakeClaim(claim, verdict))
"""
    result = suite(tests, *OPTIONS, *xdist_args)
    table = [line.split() for line in result.outlines if line.startswith("dustbin17 ")]
    assert [(line[1], line[-1]) for line in table] == [("1D", "fails"), ("2D", "holds"), ("3D", "holds")]
    result.stdout.fnmatch_lines(["3 claims: 2 hold, 1 fails*"])


def test_several_reports_of_one_phase_add_up():
    records = Records()
    for when, claims in (("setup", []), ("call", ["1"]), ("call", ["2"]), ("setup", ["3"]), ("call", ["4"])):
        report = pytest.TestReport("t.py::test", ("t.py", 0, "test"), {}, "passed", None, when)
        rows = [{"claim": claim} for claim in claims]
        report.robust = {"index": 0, "events": [], "claims": rows, "requirements": [], "diagnoses": [], "results": []}
        records.pytest_runtest_logreport(report)
        if claims == ["2"]:
            assert [claim["claim"] for claim in records.claims] == ["1", "2"]
    assert [claim["claim"] for claim in records.claims] == ["3", "4"], "another setup is another run"
