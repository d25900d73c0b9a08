"""The `robust` marker, ``--defense``, ``--attack``, and what runs how often."""

from __future__ import annotations

import pytest

MARKED = """
import pytest

@pytest.mark.robust(paper="dustbin17", claim="1A", defense="shield", attack="fgsm")
def test_shield_fgsm(): pass

@pytest.mark.robust(defense="wall", attack=("fgsm", "pgd"))
def test_wall_both(): pass

@pytest.mark.robust(attack="poke")
def test_poke(): pass

def test_unmarked(): pass

@pytest.mark.robust(defense="shield")
class TestShield:
    def test_inherits(self): pass

    @pytest.mark.robust(defense="wall")
    def test_overrides(self): pass

@pytest.mark.parametrize("n", [pytest.param(1, marks=pytest.mark.robust(defense="wall"))])
def test_param(n): pass
"""


def collected(result: pytest.RunResult) -> set[str]:
    return {line.partition("::")[2].rpartition("::")[2] or line for line in result.outlines if "::" in line}


def test_where_the_options_leave_no_test_it_says_why(suite):
    code = "import pytest\n@pytest.mark.robust(defense='shield')\ndef test_it(): pass"
    told = "robust: no test runs with --defense=wall: each names others, with its marker or *robust_defended."
    result = suite(code, "--defense=wall")
    result.assert_outcomes(deselected=1)
    result.stdout.fnmatch_lines([told])
    suite(code, "--defense=shield").stdout.no_fnmatch_line("robust: no test runs*")


@pytest.mark.parametrize(
    ("args", "gone"),
    [
        ([], set()),
        (["--defense=shield"], {"test_wall_both", "test_overrides", "test_param[1]"}),
        (["--defense=wall"], {"test_shield_fgsm", "test_inherits"}),
        (["--attack=fgsm"], {"test_wall_both", "test_poke"}),
        (["--attack=fgsm,pgd"], {"test_poke"}),
        (["--attack=poke", "--defense=wall"], {"test_shield_fgsm", "test_wall_both", "test_inherits"}),
    ],
)
def test_tests_that_name_others_are_deselected_and_what_names_none_stays(suite, args, gone):
    every = {
        "test_shield_fgsm", "test_wall_both", "test_poke", "test_unmarked", "test_inherits", "test_overrides",
        "test_param[1]",
    }  # fmt: skip
    result = suite(MARKED, "--collect-only", "-q", *args)
    assert collected(result) == every - gone
    assert (f"{len(gone)} deselected" in result.stdout.str()) == bool(gone)


@pytest.mark.parametrize(
    ("marker", "message"),
    [
        ("defence='shield'", "takes no 'defence'; it takes: paper, claim, defense, attack."),
        ("'shield'", "takes no positional arguments, but got 'shield'."),
        ("defense=3", "needs a name or a tuple of names as 'defense', not 3."),
        ("claim=('1A', '1B')", "needs a string as 'claim', not ('1A', '1B')."),
        ("defense='sheild'", "unknown defense 'sheild'; did you mean 'shield'?"),
        ("attack=('fgsm', 'pdg')", "unknown attack 'pdg'"),
    ],
)
def test_a_wrong_marker_is_an_error_that_names_the_test(suite, marker, message):
    result = suite(f"import pytest\n@pytest.mark.robust({marker})\ndef test_typo(): pass")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*test_it.py::test_typo: the marker robust(...) *"])
    assert message in result.stdout.str()
    assert "Traceback" not in result.stdout.str()


def test_a_wrong_marker_is_an_error_in_a_worker_too(suite):
    result = suite("import pytest\n@pytest.mark.robust(defence='shield')\ndef test_typo(): pass", "-n1")
    assert result.parseoutcomes()["errors"] == 1
    result.stdout.fnmatch_lines(["*test_it.py::test_typo: the marker robust(...) takes no 'defence'*"])
    assert "INTERNALERROR" not in result.stdout.str() + result.stderr.str()


def test_a_wrong_marker_on_one_parameter_is_found_as_well(suite):
    code = "import pytest\n@pytest.mark.parametrize('n', [pytest.param(1, marks=pytest.mark.robust(typo=1))])\n"
    result = suite(code + "def test_typo(n): pass")
    result.stdout.fnmatch_lines(["*test_it.py::test_typo?1?: the marker robust(...) takes no 'typo'*"])


def test_a_test_runs_once_per_defense_and_attack(suite):
    code = "def test(robust_defense, robust_attack): pass\n"
    result = suite(code, "--collect-only", "-q", "--defense=shield,wall", "--attack=poke,push")
    assert collected(result) == {f"test[{d}-{a}]" for d in ("shield", "wall") for a in ("poke", "push")}


def test_without_options_all_defenses_run_against_two_attacks(suite, monkeypatch):
    monkeypatch.setattr("pytest_robust.catalogue.builtin_defenses", lambda: {"builtin": "a:b"})
    code = "def test_d(robust_defense): pass\ndef test_a(robust_attack): pass"
    result = suite(code, "--collect-only", "-q")
    assert collected(result) == {"test_d[builtin]", "test_d[shield]", "test_d[wall]", "test_a[fgsm]", "test_a[pgd]"}


def test_tests_of_one_defense_run_together_so_that_it_is_fitted_once(suite):
    code = "def test_1(robust_defense): pass\ndef test_2(robust_defense): pass"
    result = suite(code, "--collect-only", "-q", "--defense=shield,wall")
    order = [line.partition("::")[2] for line in result.outlines if "::" in line]
    assert order == ["test_1[shield]", "test_2[shield]", "test_1[wall]", "test_2[wall]"]


def test_a_marked_test_runs_with_the_names_it_is_marked_with(suite):
    code = (
        "import pytest\n"
        "@pytest.mark.robust(defense='wall', attack=('poke', 'push'))\n"
        "def test(robust_defense, robust_attack): pass\n"
    )
    result = suite(code, "--collect-only", "-q")
    assert len(collected(result)) == 2
    assert all("wall" in name for name in collected(result))
    only = suite(code, "--collect-only", "-q", "--attack=push")
    assert len(collected(only)) == 1
    none = suite(code, "--collect-only", "-q", "--defense=shield")
    assert collected(none) == set()


def test_a_test_may_choose_its_own_names(suite):
    code = (
        "import pytest\n"
        "@pytest.mark.parametrize('robust_defense', ['wall'], indirect=True)\n"
        "def test(robust_defense): assert robust_defense == 'wall'\n"
    )
    suite(code).assert_outcomes(passed=1)
    suite(code, "--defense=shield").assert_outcomes(deselected=1)
