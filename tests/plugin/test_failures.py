"""Mistakes that a user can mend: one message and the user's own line, never a traceback of the library."""

from __future__ import annotations

import pytest

MISTAKE = """
from pytest_robust.errors import AttackError, MissingDataError

def inside_a_library():
    try:
        {}["deep"]
    except KeyError as error:
        raise AttackError("the attack cannot be built: write 8/255, not 8.") from error

inside_a_library.__globals__["__name__"] = "pytest_robust.attacks.somewhere"
"""


@pytest.fixture
def library(pytester):
    """A module that says of itself that it belongs to pytest-robust."""
    pytester.makepyfile(lib=MISTAKE)
    pytester.syspathinsert()


def test_a_mistake_is_its_sentence_and_the_tests_own_line(library, suite, xdist_args):
    result = suite("import lib\n\ndef test():\n    lib.inside_a_library()\n", *xdist_args)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "test_it.py:5: in test",
            "    lib.inside_a_library()",
            "E   *AttackError: the attack cannot be built: write 8/255, not 8.",
            "FAILED test_it.py::test - *AttackError: the attack*",
        ]
    )
    assert "KeyError" not in result.stdout.str()
    assert "lib.py" not in result.stdout.str()


@pytest.mark.parametrize("option", ["--full-trace", "--tb=long", "--tb=native"])
def test_the_whole_traceback_is_there_for_who_asks(library, suite, option):
    result = suite("import lib\n\ndef test():\n    lib.inside_a_library()\n", option)
    result.stdout.fnmatch_lines(["*KeyError: 'deep'", "*lib.py*", "*AttackError*"])


def test_a_mistake_is_one_without_a_terminal_too(pytester, library, suite):
    result = suite(
        "import lib\n\ndef test():\n    lib.inside_a_library()\n", "-p", "no:terminal", "--junitxml=junit.xml"
    )
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    report = (pytester.path / "junit.xml").read_text(encoding="utf-8")
    assert "AttackError: the attack cannot be built: write 8/255, not 8." in report
    assert "KeyError" not in report


def test_a_mistake_in_a_fixture_is_its_sentence(suite):
    code = (
        "import pytest\nfrom pytest_robust.errors import DeviceError\n"
        "@pytest.fixture\ndef broken(): raise DeviceError('there is no such device.')\n"
        "def test(broken): pass\n"
    )
    result = suite(code)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["E   *DeviceError: there is no such device."])


def test_other_errors_keep_their_traceback(suite):
    result = suite("def helper(): raise KeyError('bug')\ndef test(): helper()")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*def helper(): raise KeyError('bug')*"])


def test_a_mistake_that_a_test_expects_is_its_own_affair(library, suite):
    code = (
        "import lib, pytest\n"
        "def test_raises():\n    with pytest.raises(lib.AttackError): lib.inside_a_library()\n"
        "@pytest.mark.xfail(raises=lib.AttackError)\ndef test_xfail(): lib.inside_a_library()\n"
    )
    suite(code).assert_outcomes(passed=1, xfailed=1)


NEEDS_DATA = "def test_setup(robust_dataset): pass\ndef test_call(robust_bench): robust_bench.dataset\n"


def test_missing_data_skip_with_the_command_that_gets_them(suite):
    result = suite(NEEDS_DATA, "--dataset=mnist", "-rs")
    result.assert_outcomes(skipped=2)
    result.stdout.fnmatch_lines(["SKIPPED*test_it.py:*: mnist is not under the data root: run with --download."])


def test_missing_data_fail_where_data_are_promised(suite):
    result = suite(NEEDS_DATA, "--dataset=mnist", "--strict-data")
    result.assert_outcomes(errors=1, failed=1)
    result.stdout.fnmatch_lines(["E   *MissingDataError: mnist is not under the data root: run with --download."])


def test_an_expected_failure_for_want_of_data_is_a_skip(suite):
    code = "import pytest\n@pytest.mark.xfail(strict=True)\ndef test(robust_bench): robust_bench.dataset"
    suite(code, "--dataset=mnist").assert_outcomes(skipped=1)


def test_a_family_that_cannot_be_had_is_its_sentence_alone(suite):
    code = (
        "from pytest_robust.errors import FamilyError\n"
        "def helper(): raise FamilyError('the family cannot be loaded.')\n"
        "def test(): helper()\n"
    )
    result = suite(code)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["the family cannot be loaded.", "FAILED test_it.py::test - *FamilyError: the family*"])
    assert "in helper" not in result.stdout.str()
