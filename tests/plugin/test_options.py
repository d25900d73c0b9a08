"""Every option: its spellings, its ini key, and what happens when it cannot be right."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_robust.harness.options import TABLE, Options
from pytest_robust.harness.session import session_of


def options(pytester: pytest.Pytester, *args: str) -> Options:
    return session_of(pytester.parseconfigure(*args)).options


def test_defaults_choose_the_embedded_data_on_any_machine(pytester):
    assert options(pytester) == Options()
    assert not Options().given


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("defense", "dustbin", ("dustbin",)),
        ("defense", "dustbin,none,dustbin", ("dustbin", "none")),
        ("attack", "fgsm, pgd", ("fgsm", "pgd")),
        ("attack", "art:FrameSaliencyAttack", ("art:FrameSaliencyAttack",)),
        ("dataset", "mnist", "mnist"),
        ("family", "digits", "digits"),
        ("family", "my.networks:models", "my.networks:models"),
        ("scale", "paper", "paper"),
        ("device", "cpu", "cpu"),
    ],
)
@pytest.mark.parametrize("spelling", ["--robust-{}={}", "--{}={}"])
def test_a_value_is_read_in_both_spellings(pytester, monkeypatch, name, value, expected, spelling):
    monkeypatch.setattr("pytest_robust.catalogue.builtin_defenses", lambda: {"dustbin": "a:b", "none": "a:b"})
    read = options(pytester, spelling.format(name, value))
    assert getattr(read, name) == expected
    assert read.given == {name}


def test_names_add_up_over_repetitions_and_separate_values(pytester):
    read = options(pytester, "--attack", "fgsm", "--robust-attack=pgd,bim", "--attack=fgsm")
    assert read.attack == ("fgsm", "pgd", "bim")


def test_folders_are_relative_to_where_pytest_was_started(pytester):
    pytester.mkdir("data")
    read = options(pytester, "--data-root=data", "--robust-cache=c", "--robust-report=r", "--download", "--strict-data")
    assert (read.data_root, read.cache, read.report) == tuple(pytester.path / name for name in ("data", "c", "r"))
    assert read.download
    assert read.strict_data
    assert not (pytester.path / "c").exists(), "looking at an option makes no folder"
    assert not (pytester.path / "r").exists()


def test_a_home_folder_is_expanded_as_no_shell_does_it_after_an_equals_sign(pytester, monkeypatch):
    monkeypatch.setenv("HOME", str(pytester.path))
    assert options(pytester, "--robust-cache=~/c").cache == pytester.path / "c"


def test_every_option_has_an_ini_key_and_the_command_line_beats_it(pytester):
    pytester.mkdir("data")
    pytester.makeini(
        """
        [pytest]
        robust_attack = fgsm pgd
        robust_dataset = mnist
        robust_scale = paper
        robust_device = cpu
        robust_data_root = data
        robust_download = true
        robust_strict_data = yes
        robust_cache = c
        robust_seed = 7
        robust_report = r
        """
    )
    sub = pytester.mkdir("sub")
    read = options(pytester)
    assert read.attack == ("fgsm", "pgd")
    assert (read.dataset, read.scale, read.device, read.seed) == ("mnist", "paper", "cpu", 7)
    assert read.download
    assert read.strict_data
    assert (read.data_root, read.cache, read.report) == tuple(pytester.path / name for name in ("data", "c", "r"))
    beaten = options(pytester, "--attack=bim", "--dataset=digits", "--robust-seed=1", f"--robust-cache={sub}")
    assert (beaten.attack, beaten.dataset, beaten.seed, beaten.cache) == (("bim",), "digits", 1, sub)
    assert beaten.scale == "paper"


def test_a_toml_file_may_hold_a_number_as_a_number(pytester):
    pytester.makepyprojecttoml("[tool.pytest.ini_options]\nrobust_seed = 3\nrobust_attack = ['fgsm', 'pgd']\n")
    assert (options(pytester).seed, options(pytester).attack) == (3, ("fgsm", "pgd"))


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--dataset=mnits"], "unknown data set 'mnits'; did you mean 'mnist'? Known: cifar10,"),
        (["--defense=dustbni"], "unknown defense 'dustbni'"),
        (["--attack=fsgm"], "unknown attack 'fsgm'; did you mean 'fgsm'? Known: "),
        (["--attack=fgsm,,pgd"], "--robust-attack: an empty name in 'fgsm,,pgd'"),
        (["--dataset="], "--robust-dataset: the name is empty."),
        (["--family=digit"], "unknown family 'digit'; did you mean 'digits'? Known: digits, imagenet-paper,"),
        (["--family="], "--robust-family: the name is empty."),
        (["--family=models.py"], "'models.py' names no function: write FILE.py:FUNCTION or PACKAGE.MODULE:FUNCTION."),
        (["--family=models.py:"], "'models.py:' names no function"),
        (["--family=nowhere.py:models"], "nowhere.py of the family does not exist: name another with --robust-family."),
        (["--scale=papr"], "--robust-scale: unknown scale 'papr': choose quick or paper."),
        (["--device=gpu"], "--robust-device: unknown device 'gpu': choose auto, cpu, cuda, cuda:N or mps."),
        (["--robust-seed=-1"], "--robust-seed: the seed is -1, but seeds count from 0."),
        (["--robust-seed=one"], "--robust-seed: the seed 'one' is not a whole number."),
        (["--data-root=nowhere"], "nowhere does not exist: create it, or let --download fill it."),
        (["--data-root=a_file"], "a_file is not a folder"),
        (["--robust-cache=a_file/inside"], "name another with --robust-cache."),
        (["--robust-report=a_file"], "name another with --robust-report."),
        (["-o", "robust_seed=x"], "robust_seed in "),
        (["-o", "robust_download=perhaps"], "robust_download in "),
    ],
)
def test_what_cannot_be_right_is_a_usage_error_before_collection(pytester, args, message):
    pytester.makefile("", a_file="")
    pytester.makepyfile("raise SystemError('collected')")
    result = pytester.runpytest(*args)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert message in result.stderr.str()
    assert "Traceback" not in result.stderr.str()
    assert "SystemError" not in result.stdout.str()


def test_a_missing_data_root_is_fine_where_it_is_about_to_be_filled(pytester):
    assert options(pytester, "--data-root=new", "--download").data_root == pytester.path / "new"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("robust_seed = four", "robust_seed in *tox.ini: *whole number*"),
        ("robust_strict_data = maybe", "robust_strict_data in *tox.ini: it is no flag: write true or false."),
    ],
)
def test_an_ini_key_that_cannot_be_read_is_a_sentence_of_ours(pytester, line, said):
    pytester.makeini(f"[pytest]\n{line}\n")
    result = pytester.runpytest()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {said}"])
    assert "invalid" not in result.stderr.str()


def test_help_is_given_whatever_the_options_say(pytester):
    pytester.makeini("[pytest]\nrobust_dataset = no_such\n")
    result = pytester.runpytest("--help")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["adversarial robustness (pytest-robust):", *(f"  {o.long}*" for o in TABLE)])
    result.stdout.fnmatch_lines(["*robust_dataset (string):*"])


OWNER = """
def pytest_addoption(parser):
    parser.addoption("--device", action="store", default="theirs", help="another plugin's")

def pytest_configure(config):
    print("device of the other plugin:", config.getoption("--device"))
"""


@pytest.mark.parametrize("place", ["before", "after", "conftest"])
def test_a_short_name_that_another_plugin_owns_is_left_to_it(pytester, monkeypatch, place):
    """Plugins named by -p load before entry points, those in PYTEST_PLUGINS after them, conftest.py files last."""
    pytester.makepyfile("def test(pytestconfig): print('ours:', pytestconfig.getoption('robust_device'))")
    args = ["--device=cuda:9", "--robust-device=cpu", "-s"]
    if place == "conftest":
        pytester.makeconftest(OWNER)
    else:
        pytester.makepyfile(owner=OWNER)
        pytester.syspathinsert()
        args = ["-p", "owner", *args] if place == "before" else args
        if place == "after":
            monkeypatch.setenv("PYTEST_PLUGINS", "owner")
    result = pytester.runpytest(*args)
    assert result.ret == 0
    result.stdout.fnmatch_lines_random(["device of the other plugin: cuda:9", "*ours: cpu"])


def test_a_conftest_that_loads_during_collection_may_declare_the_same_short_name(pytester):
    sub = pytester.mkpydir("sub")
    (sub / "conftest.py").write_text(OWNER)
    (sub / "test_sub.py").write_text("def test(): pass")
    assert pytester.runpytest("--device=cpu").ret == 0


def test_a_value_after_a_short_name_is_not_taken_for_a_folder(pytester):
    """Or else pytest would load the conftest.py of the folder it is started in, and not that of `testpaths`."""
    pytester.makeini("[pytest]\ntestpaths = suite\n")
    suite = pytester.mkdir("suite")
    (suite / "conftest.py").write_text("def pytest_addoption(parser): parser.addoption('--of-the-suite')")
    (suite / "test_it.py").write_text("def test(pytestconfig): assert pytestconfig.getoption('--of-the-suite') == 'x'")
    result = pytester.runpytest("--device", "cpu", "--of-the-suite=x")
    result.assert_outcomes(passed=1)


def test_what_follows_two_hyphens_is_a_file_name(pytester):
    assert pytester.runpytest("--", "--download").ret == pytest.ExitCode.USAGE_ERROR


def test_asking_for_a_gpu_that_is_not_there_is_a_usage_error(pytester):
    import torch

    if torch.cuda.is_available():
        device, missing = f"cuda:{torch.cuda.device_count()}", "CUDA device(s)"
    else:
        device, missing = "cuda", "no CUDA device"
    pytester.makepyfile("def test(): pass")
    result = pytester.runpytest(f"--device={device}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert missing in result.stderr.str()
    assert "Traceback" not in result.stderr.str()


def test_sessions_inside_one_process_keep_their_options_apart(pytester):
    one, two = pytester.parseconfigure("--robust-seed=1"), pytester.parseconfigure("--robust-seed=2")
    assert (session_of(one).options.seed, session_of(two).options.seed) == (1, 2)
    assert session_of(one).records is not session_of(two).records


def test_ini_paths_are_relative_to_the_ini_file(pytester, monkeypatch):
    pytester.makeini("[pytest]\nrobust_cache = c\nrobust_family = f.py:models\n")
    pytester.makepyfile(f="")
    sub = pytester.mkdir("sub")
    monkeypatch.chdir(sub)
    assert options(pytester).cache == Path(pytester.path / "c")
    assert options(pytester).family == f"{pytester.path / 'f.py'}:models"
