"""The hook through which a conftest.py registers things of its own."""

from __future__ import annotations

import pytest

from pytest_robust.harness.session import session_of


def test_what_a_conftest_registers_is_known_when_options_are_checked(suite):
    result = suite("def test(robust_defense): assert robust_defense == 'shield'", "--defense=shield", "-v")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*test_it.py::test?shield? PASSED*"])


def test_an_unknown_name_lists_what_a_conftest_registered(suite):
    result = suite("def test(): pass", "--defense=sheild")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*unknown defense 'sheild'; did you mean 'shield'? Known: *wall*"])


def test_a_conftest_that_pytest_loads_later_is_asked_when_it_loads(pytester, suite):
    sub = pytester.mkpydir("sub")
    (sub / "conftest.py").write_text(
        "def pytest_robust_register(registries): registries.defenses.register('late', lambda: 'late')"
    )
    (sub / "test_sub.py").write_text("def test(robust_bench): assert 'late' in robust_bench.registries.defenses")
    suite("def test(robust_bench): assert 'shield' in robust_bench.registries.defenses").assert_outcomes(passed=2)


def test_the_hook_is_not_called_by_a_run_that_needs_no_names(pytester):
    pytester.makeconftest("def pytest_robust_register(registries): raise SystemError('called')")
    pytester.makepyfile("def test(): pass")
    pytester.runpytest("--robust-seed=3").assert_outcomes(passed=1)


def test_a_conftest_below_registers_too_late_for_an_option_and_the_message_says_so(pytester):
    below = pytester.mkdir("below")
    (below / "conftest.py").write_text(
        "def pytest_robust_register(registries): registries.attacks.register('mine', 1)\n"
    )
    (below / "test_it.py").write_text("def test(robust_attack): pass\n")
    result = pytester.runpytest("--attack=mine")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*unknown attack 'mine'*A conftest.py in a folder below registers too late*"])
    assert "unknown" not in pytester.runpytest("--attack=mine", "below", "--collect-only").stderr.str()


def test_registering_a_name_twice_is_one_message_wherever_it_comes_up(pytester):
    pytester.makeconftest(
        "def pytest_robust_register(registries):\n"
        "    registries.attacks.register('mine', 1)\n"
        "    registries.attacks.register('mine', 2)\n"
    )
    pytester.makepyfile("def test(robust_bench): pass\ndef test_too(robust_bench): pass")
    result = pytester.runpytest("--attack=mine")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["*the attack 'mine' is registered twice, by conftest.py:2 and by conftest.py:3: rename one of them."]
    )
    result = pytester.runpytest()
    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines(["E   *DuplicateNameError: the attack 'mine' is registered twice*"])
    assert "registry.py" not in result.stdout.str(), "no line of the library is shown"


def test_registrations_end_with_their_session(pytester, suite):
    suite("def test(robust_bench): assert 'shield' in robust_bench.registries.defenses").assert_outcomes(passed=1)
    pytester.makeconftest("")
    assert "shield" not in session_of(pytester.parseconfigure()).registries.defenses
