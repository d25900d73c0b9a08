"""The fixture `robust` in a user's suite: failed assertions explain themselves, unreliable figures do not pass."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Callable

import pytest

HEAD = """
import pytest
from pytest_robust.attacks.common_checks import toy_classifier, toy_split

MODEL, DATA = toy_classifier(), toy_split(40, seed=3)

def untrained():
    model = toy_classifier()
    model.network[-1].weight.data.zero_()
    return model
"""


@pytest.fixture
def release(
    everything_is_loaded: None, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., pytest.RunResult]:
    """``release(tests, *options)`` runs tests of a release as a user would."""
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)

    def run(tests: str, *options: str) -> pytest.RunResult:
        pytester.makepyfile(test_release=HEAD + tests)
        return pytester.runpytest("--robust-cache=cache", "--device=cpu", *options)

    return run


FAILING = """
def test_release(robust):
    result = robust.evaluate(MODEL, DATA, attack="pgd", eps=16 / 255)
    assert result.accuracy.lower >= 0.99
"""
EXPLAINED = [
    ">*assert result.accuracy.lower >= 0.99",
    "E*assert 0.* >= 0.99",
    "E*where 0.* = 0.* (*/40, 95% CI 0.*–0.*).lower",
    "E*where * = Result(robust accuracy 0.* under pgd(norm=inf, eps=0.0627451, *), seed 3).accuracy",
    "*- adversarial robustness -*",
    "toy on toy, 40 images",
    "  robust accuracy: 0.* (*/40, 95% CI 0.*–0.*)",
    "  attack: pgd(norm='inf', eps=0.0627*, eps_step=0.00627*, max_iter=40, num_random_init=1)",
    "  seed: 3, device: cpu",
    "  worst images: *, *, *, *, *, *, *, *, *, *",
    "  to reproduce: from pytest_robust import Bench, Robust, Settings; Robust(Bench(Settings(seed=3, device='cpu')))"
    ".evaluate(model, data, attack='pgd', norm='linf', eps=16/255, *)",
    "  in pytest: pytest test_release.py::test_release --robust-seed=3 --robust-device=cpu",
]


def test_a_failed_assertion_explains_itself(release):
    result = release(FAILING, "--robust-seed=3", "--junitxml=junit.xml")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(EXPLAINED)
    (failure,) = ET.parse("junit.xml").getroot().iter("failure")
    assert "worst images: " in str(failure.text)


@pytest.mark.parametrize("options", [(), ("-n1",)], ids=["alone", "xdist"])
def test_a_failed_assertion_draws_the_worst_images_into_the_report(release, pytester, options):
    result = release(FAILING, "--robust-report=report", *options)
    result.assert_outcomes(failed=1)
    name = "worst-test_release.py-test_release-1.png"
    result.stdout.fnmatch_lines([f"  picture of the worst: {name}"])
    report = pytester.path / "report"
    assert [path.name for path in report.glob("*.png")] == [name]
    (row,) = json.loads((report / "results.json").read_text(encoding="utf-8"))["results"]
    assert (row["test"], row["outcome"], row["picture"]) == ("test_release.py::test_release", "failed", name)
    assert row["accuracy"]["n"] == 40
    assert "## Robustness: 1 of 1 tests failed" in (report / "summary.md").read_text(encoding="utf-8")


def test_it_does_so_from_an_xdist_worker(release):
    result = release(FAILING, "--robust-seed=3", "-n1")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(EXPLAINED)


def test_an_assertion_on_a_result_of_a_wider_fixture_explains_itself(release):
    tests = """
@pytest.fixture(scope="module")
def result(robust):
    return robust.evaluate(MODEL, DATA)

def test_first(result): assert result.accuracy.lower >= 0.9
def test_second(result): assert result.accuracy.upper < 0.5
def test_third(result): assert True
"""
    result = release(tests)
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["  clean accuracy: 1.000 (40/40, *)", "  in pytest: *::test_second *"])


def test_a_test_that_fails_for_another_reason_shows_no_result(release):
    result = release("def test(robust):\n    robust.evaluate(MODEL, DATA)\n    assert 1 == 2\n")
    result.assert_outcomes(failed=1)
    assert "to reproduce" not in result.stdout.str()


def test_a_second_run_attacks_nothing(release):
    test = FAILING.replace("0.99", "0.01")
    release(test).stdout.fnmatch_lines(["crafted 1 adversarial set in *"])
    again = release(test)
    again.assert_outcomes(passed=1)
    again.stdout.fnmatch_lines(["trained nothing, attacked nothing, *"])


def test_a_test_does_not_pass_on_figures_that_are_no_evidence(release):
    tests = """
def test_release(robust):
    assert robust.evaluate(untrained(), DATA).accuracy <= 1

def test_who_has_looked_at_the_checks(robust):
    result = robust.evaluate(untrained(), DATA)
    assert "guessing" in result.checks[0]
    assert result.accuracy <= 1

def test_by_a_verdict(robust): assert not robust.evaluate(untrained(), DATA).at_most(0.1)

def test_by_a_verdict_that_was_only_shown(robust):
    result = robust.evaluate(untrained(), DATA)
    print(result.at_least(0.1).verdict)
    assert result.accuracy <= 1

@pytest.fixture
def accuracy(robust): return robust.evaluate(untrained(), DATA).accuracy

def test_through_a_fixture(accuracy): assert accuracy <= 1

@pytest.mark.xfail(strict=True)
def test_expected(robust): assert robust.evaluate(untrained(), DATA).accuracy > 0.9
"""
    result = release(tests)
    result.assert_outcomes(failed=4, passed=1, xfailed=1)
    result.stdout.fnmatch_lines(
        ["The test passed on figures that are no evidence (clean accuracy 0.250 *no better than guessing*`checks`*"]
    )


def test_every_test_that_a_wider_fixture_gives_figures_that_are_no_evidence_fails(release):
    tests = """
@pytest.fixture(scope="module")
def accuracy(robust): return robust.evaluate(untrained(), DATA).accuracy

@pytest.fixture(scope="module")
def judged(robust):
    result = robust.evaluate(untrained(), DATA)
    assert result.checks
    return result.accuracy

@pytest.fixture
def through(request): return request.getfixturevalue("accuracy")

def test_first(accuracy): assert accuracy <= 1
def test_second(accuracy): assert accuracy <= 1
def test_third(through): assert through <= 1
def test_who_has_looked_at_the_checks(judged): assert judged <= 1
def test_of_something_else(): assert True
"""
    release(tests).assert_outcomes(failed=3, passed=2)


@pytest.mark.parametrize(
    "figure",
    ["clean.correct.any()", "attacked.wrong.any() is not None", "adversarial.x.max() >= 0", "margins.numel() == 40",
     "worst(1)", "as_dict()['accuracy']['value'] <= 1", "norms"],
)  # fmt: skip
def test_every_figure_of_a_result_that_is_no_evidence_counts(release, figure):
    test = f"def test(robust): assert robust.evaluate(untrained(), DATA, 'fgsm', eps=0.1).{figure}"
    result = release(test)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["The test passed on figures that are no evidence *"])


def test_a_verdict_can_be_asserted_as_it_is(release):
    tests = """
def test_met(robust): assert robust.evaluate(MODEL, DATA).at_least(0.8)
def test_not_met(robust): assert robust.evaluate(MODEL, DATA).at_least(0.999)
def test_not_kept_below(robust): assert robust.evaluate(MODEL, DATA).at_most(0.2)
def test_met_by_figures_that_are_no_evidence(robust): assert robust.evaluate(untrained(), DATA).at_most(0.9)
"""
    result = release(tests)
    result.assert_outcomes(passed=1, failed=3)
    result.stdout.fnmatch_lines(["E*Judgement(verdict=<Verdict.INCONCLUSIVE*", "E*Verdict.UNRELIABLE*"])


def test_models_and_data_are_found_from_the_rootdir(release, pytester):
    pytester.makepyfile(
        own_release="from pytest_robust.attacks.common_checks import toy_classifier, toy_split\n"
        "def model(): return toy_classifier()\ndef data(): return toy_split(40, seed=3)\n"
    )
    test = "def test(robust): assert robust.evaluate('own_release:model', 'own_release:data').accuracy.lower > 0.8\n"
    release(test).assert_outcomes(passed=1)


def test_a_mistake_is_its_sentence_and_the_users_line(release):
    result = release("def test(robust):\n    robust.evaluate(MODEL, DATA, 'pgd', eps=8)\n")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["test_release.py:*: in test", "E   *SettingsError: the attack 'pgd' has eps=8, *"])
    assert "crafting.py" not in result.stdout.str()


def test_a_users_own_fixture_of_that_name_wins(release):
    result = release("@pytest.fixture\ndef robust(): return 3\ndef test(robust): assert robust == 3\n")
    result.assert_outcomes(passed=1)


@pytest.fixture
def reported(release, pytester):
    """``reported(tests)`` runs them and gives pytest's outcomes, those in results.json by test, and summary.md."""

    def run(tests: str, *options: str) -> tuple[pytest.RunResult, list[tuple[str, str]], str]:
        result = release(tests, "--robust-report=report", *options)
        report = pytester.path / "report"
        rows = json.loads((report / "results.json").read_text(encoding="utf-8"))["results"]
        outcomes = [(row["test"].rpartition("::")[2], row["outcome"]) for row in rows]
        return result, outcomes, (report / "summary.md").read_text(encoding="utf-8")

    return run


OF_THE_MODULE = """
@pytest.fixture(scope="module")
def result(robust):
    found = robust.evaluate(MODEL, DATA)
    assert found.accuracy <= 1
    return found
"""
OUTCOMES = """
@pytest.fixture
def breaks_afterwards():
    yield
    raise OSError("gone")

def test_passes(result): assert result.accuracy >= 0.5
def test_fails(result): assert result.accuracy > 1
@pytest.mark.xfail
def test_is_expected_to_fail(result): assert result.accuracy > 1
@pytest.mark.xfail
def test_passes_unexpectedly(result): assert result.accuracy <= 1
@pytest.mark.xfail(strict=True)
def test_passes_though_it_must_not(result): assert result.accuracy <= 1
def test_skips(result): pytest.skip("later")
def test_breaks_afterwards(result, breaks_afterwards): assert result.accuracy <= 1
def test_cannot_evaluate(robust): robust.evaluate(MODEL, DATA, "pgd", eps=8)
def test_never_begins(robust, no_such_fixture): pass
def test_of_something_else(): assert False
"""


@pytest.mark.parametrize("options", [(), ("-n1",)], ids=["alone", "xdist"])
def test_every_test_is_reported_once_with_what_became_of_it(reported, options):
    result, outcomes, summary = reported(OF_THE_MODULE + OUTCOMES, *options)
    result.assert_outcomes(passed=2, failed=4, errors=2, xfailed=1, xpassed=1, skipped=1)
    assert outcomes == [
        ("test_passes", "passed"),
        ("test_fails", "failed"),
        ("test_is_expected_to_fail", "xfailed"),
        ("test_passes_unexpectedly", "xpassed"),
        ("test_passes_though_it_must_not", "failed"),
        ("test_skips", "skipped"),
        ("test_breaks_afterwards", "failed"),
        ("test_cannot_evaluate", "failed"),
        ("test_never_begins", "failed"),
    ]
    assert summary.startswith("## Robustness: 5 of 9 tests failed, 1 xfailed, 1 xpassed, 1 skipped\n")
    assert "the attack 'pgd' has eps=8" in summary


def test_a_test_of_subtests_is_reported_with_each_result_once(reported):
    if pytest.version_tuple < (9,):
        pytest.skip("subtests came with pytest 9")
    tests = """
def test(result, robust, subtests):
    with subtests.test("wrong"):
        assert result.accuracy > 1
    with subtests.test("another"):
        assert robust.evaluate(MODEL, DATA, "fgsm", eps=0.1).accuracy <= 1
"""
    _, outcomes, summary = reported(OF_THE_MODULE + tests)
    assert outcomes == [("test", "failed")] * 2
    assert summary.startswith("## Robustness: 1 of 1 tests failed\n")


def test_only_the_fixture_that_a_test_was_given_counts(release, pytester):
    fixture = """
import pytest
from pytest_robust.attacks.common_checks import toy_classifier, toy_split

@pytest.fixture(scope="session")
def figure(robust):
    model = toy_classifier()
    model.network[-1].weight.data.zero_()
    return robust.evaluate(model, toy_split(40, seed=3)).accuracy.value
"""
    above = "import pytest\n@pytest.fixture(scope='session')\ndef figure({}): return 1.0\n"
    for path, text in {
        "a/conftest.py": fixture,
        "a/test_a.py": "def test_a(figure): assert figure <= 1",
        "a/sub/conftest.py": above.format(""),
        "a/sub/test_sub.py": "def test_sub(figure): assert figure <= 1",
        "a/on/conftest.py": above.format("figure"),
        "a/on/test_on.py": "def test_on(figure): assert figure <= 1",
        "ab/conftest.py": above.format(""),
        "ab/test_b.py": "def test_b(figure): assert figure <= 1",
    }.items():
        (pytester.path / path).parent.mkdir(parents=True, exist_ok=True)
        (pytester.path / path).write_text(text, encoding="utf-8")
    result = release("", "-rA", "-p", "no:randomly")
    result.assert_outcomes(passed=2, failed=2)
    result.stdout.fnmatch_lines_random(["PASSED a/sub/test_sub.py::test_sub", "PASSED ab/test_b.py::test_b"])


def test_a_teardown_does_not_pass_on_figures_that_are_no_evidence(release):
    tests = """
@pytest.fixture
def asserts(robust):
    yield
    assert robust.evaluate(untrained(), DATA).accuracy <= 1

@pytest.fixture(scope="module")
def wide(robust):
    result = robust.evaluate(untrained(), DATA)
    assert result.checks
    yield result
    assert result.accuracy <= 1

@pytest.fixture
def has_looked(robust):
    result = robust.evaluate(untrained(), DATA)
    yield result
    assert result.accuracy <= 1

def test_of_a_fixture(asserts): pass
def test_of_its_checks(has_looked): assert has_looked.checks
def test_of_a_wide_fixture(wide): pass
def test_of_something_else(): pass
"""
    result = release(tests)
    result.assert_outcomes(passed=4, errors=1)
    result.stdout.fnmatch_lines(
        ["*ERROR at teardown of test_of_a_fixture*", "The test passed on figures that are no *"]
    )
