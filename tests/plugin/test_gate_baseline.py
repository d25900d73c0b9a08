"""Baselines and sequential requirements of robust.toml: what a run saves, and what the next one makes of it."""

from __future__ import annotations

import json

import pytest

# pytester forgets what a suite imports: NumPy and torch cannot be loaded twice, and ART takes seconds each time.
import pytest_robust.attacks.pgd
import pytest_robust.gate.run  # noqa: F401

#: 600 images of one value each, which the model compares with its threshold; the last thirty are mislabelled.
RELEASE = """
import torch
from torch import nn

WRONG, IMAGES, SHIFT = 30, 600, 0.0

class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.threshold = nn.Parameter(torch.tensor(0.5 + SHIFT))

    def forward(self, x):
        value = x.flatten(1).mean(1) - self.threshold
        return torch.stack([-value, value], 1)

def model():
    return Model().eval()

def data():
    y = torch.arange(IMAGES) % 2
    x = torch.where(y == 1, 0.6, 0.4)[:, None, None, None] * torch.ones(IMAGES, 1, 2, 2)
    x += torch.linspace(0, 0.05, IMAGES)[:, None, None, None] * (2 * y - 1)[:, None, None, None]
    y = torch.where(torch.arange(IMAGES) < IMAGES - WRONG, y, 1 - y)
    return x, y
"""
HEAD = '[gate]\nmodel = "release:model"\ndata = "release:data"\n'
REQUIRE = """
[[require]]
at_least = 0.5
[[require]]
attack = "fgsm"
eps = 0.12
max_drop_from_baseline = 0.01
"""
SAVE, COMPARE = "--robust-save-baseline=base/line.json", "--robust-baseline=base/line.json"


@pytest.fixture
def gate(pytester, monkeypatch):
    """``gate(*options, release=…, require=…)`` runs pytest in a folder with a robust.toml and its release.py."""
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    monkeypatch.syspath_prepend(pytester.path)

    def run(*options, release=RELEASE, require=REQUIRE, head=HEAD):
        (pytester.path / "release.py").write_text(release, encoding="utf-8")
        (pytester.path / "robust.toml").write_text(head + require, encoding="utf-8")
        monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
        return pytester.runpytest("-p", "no:cacheprovider", "--robust-cache=cache", *options)

    return run


def worse_by(share):
    """The release with a threshold that some of the images with label 1 no longer reach."""
    return RELEASE.replace("SHIFT = 30, 600, 0.0", f"SHIFT = 30, 600, {share}")


def document(pytester):
    return json.loads((pytester.path / "base" / "line.json").read_text(encoding="utf-8"))


def reported(pytester):
    return json.loads((pytester.path / "report" / "results.json").read_text(encoding="utf-8"))


def rewrite(pytester, text):
    (pytester.path / "base" / "line.json").write_text(text, encoding="utf-8")


@pytest.mark.parametrize("xdist", [("-p", "no:xdist"), ("-n2",)])
def test_the_first_run_saves_and_the_same_model_is_never_worse(pytester, gate, xdist):
    first = gate(SAVE, *xdist)
    first.assert_outcomes(passed=1, skipped=1)
    first.stdout.fnmatch_lines(["fgsm eps=0.12 accuracy drop <= 0.01 * information", "baseline: *line.json"])
    entries = document(pytester)["entries"]
    assert [(e["measures"], e["n"]) for e in entries] == [("clean accuracy", 600), ("fgsm eps=0.12 accuracy", 600)]
    second = gate(COMPARE, *xdist)
    second.assert_outcomes(passed=2)
    second.stdout.fnmatch_lines(["*0.950 → 0.950, worse by +0.000*", "2 requirements: 2 hold"])


def test_a_model_that_is_significantly_worse_stops_the_build_though_it_keeps_its_threshold(pytester, gate):
    gate(SAVE)
    before = document(pytester)
    result = gate(COMPARE, SAVE, "--robust-report=report", release=worse_by(0.11))
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(
        [
            "clean accuracy >= 0.5 fails: measured *; significantly worse than the baseline: 0.950 → *, worse by +*"
            " (95% CI +* to +*; the same 600 images; p = *, corrected for 2 requirements).",
            "  to reproduce: pytest 'robust.toml::clean accuracy >= 0.5' --robust-baseline=base/line.json",
            "*NOT SAVED: the run is worse than the one it was compared with",
        ]
    )
    assert document(pytester) == before
    summary = (pytester.path / "report" / "summary.md").read_text(encoding="utf-8")
    assert "## Robustness: 2 of 2 requirements not met" in summary
    assert "**Worse than the baseline**" in summary
    assert "- clean accuracy >= 0.5: 0.950 → " in summary


def test_other_images_are_compared_as_two_samples(gate):
    gate(SAVE)
    result = gate(COMPARE, release=RELEASE.replace("30, 600", "29, 580"))
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["*0.950 → 0.950, worse by*", "*600 and 580 other images*"])


def test_three_images_less_do_not_stop_a_build(gate):
    clean = "[[require]]\nat_least = 0.5\n"
    gate(SAVE, require=clean)
    result = gate(COMPARE, require=clean, release=worse_by(0.1005))
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*0.950 → 0.945, worse by*"])


DROP = '[[require]]\nattack = "fgsm"\neps = 0.12\nmax_drop_from_baseline = 0.001\n'


@pytest.mark.parametrize(
    ("key", "outcome"), [("", "passed"), ('inconclusive = "fail"\n', "failed"), ('inconclusive = "skip"\n', "skipped")]
)
def test_a_drop_that_the_images_cannot_rule_out_is_not_said_to_hold(gate, key, outcome):
    gate(SAVE, require=DROP)
    result = gate(COMPARE, "-rs", require=DROP, head=HEAD + key)
    result.assert_outcomes(**{outcome: 1})
    result.stdout.fnmatch_lines(["fgsm eps=0.12 accuracy drop <= * inconclusive*", "1 requirement: 1 inconclusive"])
    if outcome != "passed":
        assert "no significant drop, but 600 images cannot rule out more than 0.001" in result.stdout.str()


@pytest.mark.parametrize(
    ("change", "options", "differs"),
    [
        (("eps = 0.12", "eps = 0.11"), (), "eps was 0.12 and is 0.11"),
        (('"fgsm"', '"fgsm"\nrestarts = 2'), (), "num_random_init was 0 and is 2"),
        (('"fgsm"', '"pgd"'), (), "holds nothing for 'pgd eps=0.12 accuracy', so there is nothing to compare with"),
        (("", ""), ("--robust-seed=5",), "seed was 0 and is 5"),
        (("[[", "confidence = 0.9\n[["), (), "confidence was 0.95 and is 0.9"),
    ],
)
def test_a_baseline_of_other_settings_is_refused_with_what_differs(gate, change, options, differs):
    gate(SAVE)
    result = gate(COMPARE, *options, require=REQUIRE.replace(*change, 1))
    assert differs in result.stdout.str()
    assert result.parseoutcomes()["failed"] >= 1


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (None, "cannot be read (No such file or directory): save one with --robust-save-baseline."),
        ("{", "line.json is no JSON ("),
        ("[]", "line.json is JSON, but no baseline"),
        ('{"schema": 0}', "has schema 0, but this version of pytest-robust reads 1"),
        ('{"schema": 1, "entries": [{"file": "robust.toml"}]}', "line.json is damaged ("),
    ],
)
def test_a_baseline_that_cannot_be_read_is_a_sentence_before_anything_runs(pytester, gate, text, sentence):
    (pytester.path / "base").mkdir()
    if text is not None:
        rewrite(pytester, text)
    result = gate(COMPARE)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert sentence in result.stderr.str()
    assert "Traceback" not in result.stderr.str()


def test_another_attack_under_the_same_name_is_refused(pytester, gate):
    gate(SAVE)
    entries = document(pytester)
    entries["entries"][1]["settings"]["implementation"] = "own.attacks:Fgsm"
    rewrite(pytester, json.dumps(entries))
    result = gate(COMPARE)
    result.assert_outcomes(passed=1, failed=1)
    assert "implementation was own.attacks:Fgsm and is pytest_robust.attacks." in result.stdout.str()


def test_outcomes_that_were_cut_are_seen(pytester, gate):
    gate(SAVE)
    entries = document(pytester)
    entries["entries"][0]["outcomes"] = entries["entries"][0]["outcomes"][:-4]
    rewrite(pytester, json.dumps(entries))
    assert "72 bytes of outcomes of 'clean accuracy' for 600 images" in gate(COMPARE).stderr.str()


def test_what_could_not_be_measured_is_not_saved(pytester, gate):
    gate(SAVE)
    before = document(pytester)
    result = gate(SAVE, require=f'{REQUIRE}[[require]]\nmetric = "rejection"\nat_most = 0.1\n')
    result.stdout.fnmatch_lines(["*NOT SAVED: the run has not measured 'clean rejection <= 0.1'"])
    assert document(pytester) == before


def test_a_model_that_breaks_under_attack_is_in_every_report_and_saves_nothing(pytester, gate):
    gate(SAVE)
    before = document(pytester)
    breaking = (
        RELEASE
        + """
whole = model
def model():
    network = whole()
    def watch(module, args):
        if args[0].requires_grad:
            raise KeyError("a table that lacks this image")
    network.register_forward_pre_hook(watch)
    return network
"""
    )
    result = gate(SAVE, "--robust-report=report", release=breaking)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*NOT SAVED: the run has not measured 'fgsm eps=0.12 accuracy drop <= 0.01'"])
    assert document(pytester) == before
    verdicts = {row["requirement"]: (row["verdict"], row["outcome"]) for row in reported(pytester)["requirements"]}
    assert verdicts["fgsm eps=0.12 accuracy drop <= 0.01"] == ("error", "fail")


def test_a_run_in_which_another_test_fails_saves_nothing(pytester, gate):
    (pytester.path / "test_own.py").write_text("def test_own(): assert False\n", encoding="utf-8")
    result = gate(SAVE)
    result.assert_outcomes(passed=1, failed=1, skipped=1)
    result.stdout.fnmatch_lines(["*NOT SAVED: the run failed"])
    assert not (pytester.path / "base").exists()


def test_a_sequential_requirement_stops_when_it_is_certain_and_attacks_nothing_again(pytester, gate):
    require = '[[require]]\nattack = "fgsm"\neps = 0.01\nat_least = 0.5\nsequential = true\n'
    first = gate("--robust-report=report", require=require)
    first.assert_outcomes(passed=1)
    first.stdout.fnmatch_lines(["*100 of 600*holds", "*500 of 600 images did not have to be attacked"])
    results = reported(pytester)
    row = results["requirements"][0]
    assert (row["images_used"], row["images"], row["verdict"]) == (100, 600, "holds")
    assert results["spent"]["sets_crafted"] == 1
    gate("--robust-report=report", require=require).assert_outcomes(passed=1)
    assert reported(pytester)["spent"]["sets_crafted"] == 0


def test_worst_images_of_a_sequential_requirement_are_positions_in_the_users_data(pytester, gate):
    require = '[[require]]\nattack = "fgsm"\neps = 0.01\nat_least = 0.99\nsequential = true\n'
    gate("--robust-report=report", require=require).assert_outcomes(failed=1)
    row = reported(pytester)["requirements"][0]
    assert row["images_used"] < 600
    assert min(row["worst"][:3]) >= 570, "the mislabelled images are the last thirty"


def test_a_baseline_takes_all_images_whatever_is_sequential(pytester, gate):
    gate(SAVE, require='[[require]]\nattack = "fgsm"\neps = 0.01\nat_least = 0.5\nsequential = true\n')
    assert [e["n"] for e in document(pytester)["entries"]] == [600]


UNMET = "[[require]]\nat_least = 0.99\n"


@pytest.mark.parametrize(
    ("require", "head", "release", "why"),
    [
        (UNMET, HEAD, RELEASE, "the run does not meet 'clean accuracy >= 0.99'"),
        (
            "[[require]]\nat_least = 0.1\n",
            HEAD + 'unreliable = "pass"\n',
            RELEASE.replace("[-value, value]", "[value * 0, value * 0]"),
            "the figures are no evidence for 'clean accuracy >= 0.1'",
        ),
    ],
    ids=["failed", "unreliable"],
)
def test_a_run_that_fails_or_proves_nothing_overwrites_no_baseline(pytester, gate, require, head, release, why):
    gate(SAVE)
    before = document(pytester)
    result = gate(SAVE, require=require, head=head, release=release)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert f"line.json was NOT SAVED: {why}" in result.stdout.str()
    assert document(pytester) == before


def test_a_part_of_the_requirements_replaces_its_part_of_the_baseline(pytester, gate):
    gate(SAVE)
    before = document(pytester)["entries"]
    again = gate(SAVE, "-k", "clean")
    assert again.ret == pytest.ExitCode.OK
    assert document(pytester)["entries"] == before
    other = gate(SAVE, "-k", "clean", release=worse_by(0.001))
    other.assert_outcomes(passed=1, deselected=1)
    assert other.ret == pytest.ExitCode.TESTS_FAILED
    assert "NOT SAVED: 'fgsm eps=0.12 accuracy' was not run, and the file holds no figures" in other.stdout.str()
    assert document(pytester)["entries"] == before


def test_a_part_of_the_requirements_makes_no_new_baseline(pytester, gate):
    result = gate(SAVE, "-k", "clean")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert not (pytester.path / "base" / "line.json").exists()


def test_another_gates_baseline_in_the_same_file_stays(pytester, gate):
    gate(SAVE)
    entries = document(pytester)
    entries["entries"] += [{**entry, "file": "other/robust.toml"} for entry in entries["entries"]]
    rewrite(pytester, json.dumps(entries))
    gate(SAVE)
    assert document(pytester)["entries"] == entries["entries"]


def test_a_baseline_that_nothing_was_saved_in_is_said_and_fails_the_run(pytester, gate):
    (pytester.path / "test_own.py").write_text("def test_own(): pass\n", encoding="utf-8")
    result = gate(SAVE, "test_own.py")
    result.assert_outcomes(passed=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert "line.json was NOT SAVED: the run has not measured anything that it could keep" in result.stdout.str()
    assert "NOT SAVED" in gate(SAVE, "-qq", "test_own.py").stdout.str()


def test_an_ini_file_asks_for_no_baseline_of_other_tests(pytester, gate):
    pytester.makeini("[pytest]\nrobust_save_baseline = base/line.json\n")
    (pytester.path / "test_own.py").write_text("def test_own(): pass\n", encoding="utf-8")
    assert gate("test_own.py").ret == pytest.ExitCode.OK
    assert gate("-k", "clean").ret == pytest.ExitCode.TESTS_FAILED
