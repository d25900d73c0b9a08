"""The plugin costs nothing to who does not use it."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

import pytest_robust.fixtures
import pytest_robust.plugin

HEAVY = ("torch", "art", "numpy", "sklearn", "matplotlib", "tabulate", "scipy", "safetensors")


@pytest.mark.parametrize("args", [(), ("-p", "no:xdist"), ("--robust-seed=3", "--device=cpu", "--attack=fgsm")])
def test_unrelated_tests_run_without_anything_heavy(pytester, args):
    pytester.makepyfile(
        f"import sys\ndef test(): assert not [m for m in {HEAVY} if m in sys.modules]\n"
        "def test_science():\n"
        "    science = {m.split('.')[1] for m in sys.modules if m.startswith('pytest_robust.')}\n"
        # The last four to check the names and to say where the cache is; the folder of defenses is only listed.
        "    light = {'plugin', 'fixtures', 'harness', 'errors', 'catalogue', 'registry', 'defenses', 'store'}\n"
        "    assert science <= light\n"
    )
    result = pytester.runpytest_subprocess(*args)
    result.assert_outcomes(passed=2)


def test_collecting_robust_tests_imports_nothing_heavy(pytester):
    pytester.makepyfile(
        "import sys, pytest\n@pytest.mark.robust(defense='dustbin', attack='fgsm')\n"
        "def test(robust_defended, robust_attack, robust_record): pass\n"
    )
    pytester.makeconftest(
        f"import sys\ndef pytest_sessionfinish(): print('heavy:', [m for m in {HEAVY} if m in sys.modules])"
    )
    result = pytester.runpytest_subprocess("--collect-only", "-s", "--defense=dustbin")
    assert "heavy: []" in result.stdout.str()


def test_the_entry_point_imports_pytest_and_the_standard_library_at_most():
    tree = ast.parse(Path(pytest_robust.plugin.__file__).read_text(encoding="utf-8"))
    names = set()
    for node in tree.body:
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(str(node.module).partition(".")[0])
    assert names <= {"pytest", *sys.stdlib_module_names}


def test_every_module_of_fixtures_is_brought_in():
    here = {path.stem for path in Path(pytest_robust.fixtures.__path__[0]).glob("[a-z]*.py")}
    assert set(pytest_robust.plugin.FIXTURES) == here


def test_the_plugin_can_be_turned_off(pytester):
    pytester.makepyfile("def test(request): assert not request.config.pluginmanager.hasplugin('robust')")
    pytester.runpytest("-p", "no:robust").assert_outcomes(passed=1)


def test_the_plugin_can_be_named_where_autoload_is_off(pytester, monkeypatch):
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makepyfile("def test(robust_report_dir): assert robust_report_dir is None")
    pytester.runpytest("-p", "robust", "--device=cpu").assert_outcomes(passed=1)
