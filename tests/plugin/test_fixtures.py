"""What each fixture gives, on a bench that trains nothing."""

from __future__ import annotations

CODE = """
def test_bench(robust_bench, pytestconfig):
    settings = robust_bench.settings
    assert (settings.dataset, settings.scale, settings.device, settings.seed) == ("digits", "paper", "cpu", 5)
    assert settings.data_root == pytestconfig.rootpath
    assert settings.download
    assert settings.cache == pytestconfig.rootpath / "c"

def test_dataset(robust_dataset): assert robust_dataset == "the images of digits"
def test_models(robust_classifier, robust_surrogate):
    assert (robust_classifier, robust_surrogate) == ("undefended", "surrogate")

def test_art(robust_art_estimator): assert robust_art_estimator == "estimator of undefended"
def test_attack(robust_attack, robust_art_attack): assert robust_art_attack == f"{robust_attack} on undefended"
def test_defense(robust_defense, robust_defended): assert robust_defended == f"defended by {robust_defense}"

def test_report(robust_report_dir, pytestconfig):
    assert robust_report_dir == pytestconfig.rootpath / "r"
    assert robust_report_dir.is_dir()
"""


def test_fixtures_give_what_the_options_chose(suite):
    result = suite(
        CODE, "--scale=paper", "--device=cpu", "--robust-seed=5", "--data-root=.", "--download", "--robust-cache=c",
        "--robust-report=r", "--attack=poke,push", "--defense=wall",
    )  # fmt: skip
    result.assert_outcomes(passed=8)


def test_the_cache_is_the_benchs_own_default_unless_one_is_named(suite):
    suite("def test(robust_bench): assert not hasattr(robust_bench.settings, 'cache')").assert_outcomes(passed=1)


def test_no_report_folder_unless_asked_for(suite):
    suite("def test(robust_report_dir): assert robust_report_dir is None").assert_outcomes(passed=1)


def test_there_is_one_bench_per_session(suite):
    code = "seen = []\ndef test_1(robust_bench): seen.append(robust_bench)\n"
    suite(code + "def test_2(robust_bench): assert seen == [robust_bench]").assert_outcomes(passed=2)


def test_every_fixture_has_the_prefix_and_a_docstring(pytester):
    listing = pytester.runpytest("--fixtures", "-p", "no:xdist").outlines
    first = next(i for i, line in enumerate(listing) if "fixtures defined from pytest_robust" in line)
    names = [line.split()[0] for line in listing[first:] if line[:1].isalnum()]
    assert {"robust", "robust_bench", "robust_record", "robust_defended", "robust_art_attack"} <= set(names)
    assert all(name == "robust" or name.startswith("robust_") for name in names)
    assert not any("no docstring" in line for line in listing[first:])
