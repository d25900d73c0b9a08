"""robust.toml under pytest: which tests it gives, what their outcomes say, and what a run leaves for the next."""

from __future__ import annotations

import json

import pytest

# pytester forgets what a suite imports: NumPy and torch cannot be loaded twice, and ART takes seconds each time.
import pytest_robust.attacks.pgd
import pytest_robust.gate.run  # noqa: F401

#: A model of 200 grey images of 4×4: it looks at the difference of two halves, which the attack can turn.
RELEASE = """
import torch
from torch import nn
from torch.utils.data import TensorDataset

MARGIN = 0.2

def model():
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 2, bias=False))
    with torch.no_grad():
        network[1].weight.copy_(torch.tensor([[1.0] * 8 + [-1.0] * 8, [-1.0] * 8 + [1.0] * 8]))
    return network

def data():
    generator = torch.Generator().manual_seed(1)
    y = torch.arange(200) % 2
    x = 0.4 + 0.1 * torch.rand(200, 1, 4, 4, generator=generator)
    x[y == 0, :, :2] += MARGIN * torch.rand(100, 1, 1, 1, generator=generator)
    x[y == 1, :, 2:] += MARGIN * torch.rand(100, 1, 1, 1, generator=generator)
    return TensorDataset(x, y)
"""
GATE = '[gate]\nmodel = "release:model"\ndata = "release:data"\n'
REQUIREMENTS = """
[[require]]
at_least = 0.9
[[require]]
attack = "fgsm"
eps = 0.02
at_least = 0.5
"""


@pytest.fixture
def gate(pytester, monkeypatch):
    """``gate(requirements, *options, release=…)`` runs pytest in a folder with a robust.toml and its release.py."""
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    monkeypatch.syspath_prepend(pytester.path)

    def run(requirements=REQUIREMENTS, *options, head=GATE, release=RELEASE):
        (pytester.path / "release.py").write_text(release, encoding="utf-8")
        (pytester.path / "robust.toml").write_text(head + requirements, encoding="utf-8")
        monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
        return pytester.runpytest("-p", "no:cacheprovider", "--robust-cache=cache", *options)

    return run


def results(pytester, folder="report"):
    return json.loads((pytester.path / folder / "results.json").read_text(encoding="utf-8"))


def test_each_requirement_is_a_test_with_a_name_that_says_it(gate):
    result = gate(REQUIREMENTS, "-v")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(
        [
            "robust.toml::clean accuracy >= 0.9 PASSED*",
            "robust.toml::fgsm eps=0.02 accuracy >= 0.5 PASSED*",
            "clean accuracy >= 0.9 * holds",
            "2 requirements: 2 hold",
        ]
    )


@pytest.mark.parametrize(
    ("args", "passed"),
    [
        (["robust.toml"], 2),
        (["-k", "fgsm"], 1),
        (["robust.toml::clean accuracy >= 0.9"], 1),
        (["-n2"], 2),
        (["-p", "no:xdist"], 2),
    ],
)
def test_the_file_the_folder_a_keyword_and_a_name_select(gate, args, passed):
    gate(REQUIREMENTS, *args).assert_outcomes(passed=passed)


@pytest.mark.parametrize(("attack", "passed", "deselected"), [("fgsm", 2, 0), ("pgd", 1, 1), ("pgd,fgsm", 2, 0)])
def test_the_option_attack_selects_requirements_and_what_names_no_attack_stays(gate, attack, passed, deselected):
    gate(REQUIREMENTS, f"--attack={attack}").assert_outcomes(passed=passed, deselected=deselected)


def test_a_diagnosis_is_selected_by_its_attack(gate):
    result = gate(f"{REQUIREMENTS}\n[diagnose]", "--attack=pgd", "--collect-only", "-q")
    assert "clean accuracy" in result.stdout.str()
    result.stdout.no_fnmatch_line("*diagnose*")


def test_no_other_toml_file_is_collected(pytester):
    for name in ("other.toml", "robust.toml.bak", "not_robust.toml"):
        (pytester.path / name).write_text("[gate]", encoding="utf-8")
    assert pytester.runpytest().ret == pytest.ExitCode.NO_TESTS_COLLECTED


def test_collecting_imports_nothing_heavy(pytester):
    (pytester.path / "robust.toml").write_text(GATE + REQUIREMENTS, encoding="utf-8")
    heavy = ("torch", "art", "numpy", "scipy")
    pytester.makeconftest(
        f"import sys\ndef pytest_sessionfinish(): print('heavy:', [m for m in {heavy} if m in sys.modules])"
    )
    out = pytester.runpytest_subprocess("--collect-only", "-s").stdout.str()
    assert "2 tests collected" in out
    assert "heavy: []" in out


def test_a_failed_requirement_says_all_that_one_needs_and_shows_no_traceback(gate):
    result = gate('[[require]]\nattack = "pgd"\neps = "32/255"\nsteps = 5\nat_least = 0.9')
    result.assert_outcomes(failed=1)
    out = result.stdout.str()
    result.stdout.fnmatch_lines(
        [
            "pgd eps=32/255 steps=5 accuracy >= 0.9 fails: measured 0.* (*/200, 95% CI *); the whole interval lies *",
            "  attack: pgd(norm=inf, eps=0.12549, eps_step=*, max_iter=5, num_random_init=1)",
            "  model: release:model, data: release:data",
            "  images: 200",
            "  clean accuracy: *",
            "  seed: 0, device: cpu",
            "  worst images: *, *, *, *, *, *, *, *, *, *",
            "  to reproduce: pytest 'robust.toml::pgd eps=32/255 steps=5 accuracy >= 0.9'",
            "  in Python: from pytest_robust import *Robust(*'release:model', 'release:data', attack='pgd'*",
        ]
    )
    assert "Traceback" not in out
    assert "gates.py" not in out


@pytest.mark.parametrize("keys", ['attack = "fgs"\neps = 0.1', 'attack = "deepfool"\nnorm = "linf"'])
def test_what_an_attack_does_not_take_is_said_with_its_line_before_the_model_is_made(gate, keys):
    release = RELEASE + "\ndef broken(): raise RuntimeError('the factory ran')\n"
    result = gate(f"[[require]]\n{keys}\nat_least = 0.5", head=GATE.replace(":model", ":broken"), release=release)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["robust.toml:4: the attack *"])
    assert "the factory ran" not in result.stdout.str()


def test_the_worst_images_of_a_failed_requirement_are_drawn_into_the_report(pytester, gate):
    failing = '[[require]]\nattack = "fgsm"\neps = 0.2\nat_least = 0.9\n[[require]]\nat_least = 0.1'
    result = gate(failing, "--robust-report=report")
    result.assert_outcomes(passed=1, failed=1)
    [drawn] = [path.name for path in (pytester.path / "report").glob("*.png")]
    assert drawn.startswith("worst-robust.toml-fgsm-eps-0.2-accuracy-0.9-")
    result.stdout.fnmatch_lines([f"  worst images: *, * ({drawn})"])
    assert [row["picture"] for row in results(pytester)["requirements"]] == [drawn, ""]


def test_the_pictures_of_an_earlier_run_go_with_its_report_and_nothing_else_does(pytester, gate):
    failing = '[[require]]\nat_least = {}\n[[require]]\nattack = "fgsm"\neps = 0.2\nat_least = 0.9'
    report = pytester.path / "report"
    gate(failing.format(0.999), "--robust-report=report")
    both = {path.name for path in report.glob("*.png")}
    mine = {"worst-mine.png", "figure.png"}
    for name in mine:
        (report / name).write_bytes(b"mine")
    gate(failing.format(0.1), "--robust-report=report")
    left = {path.name for path in report.glob("*.png")}
    assert len(both) == 2
    assert left - mine == {row["picture"] for row in results(pytester)["requirements"] if row["picture"]}
    assert mine < left
    assert len(left - mine) == 1


OPEN = '[[require]]\nattack = "fgsm"\neps = 0.04\nat_least = {}'


@pytest.mark.parametrize(
    ("key", "outcome"), [("", "failed"), ('inconclusive = "skip"\n', "skipped"), ('inconclusive = "pass"\n', "passed")]
)
def test_a_gate_that_cannot_tell_does_not_open_unless_the_user_says_so(pytester, gate, key, outcome):
    gate(OPEN.format(0.5), "--robust-report=report")
    measured = results(pytester)["requirements"][0]["value"]
    result = gate(OPEN.format(measured - 0.02), "-rs", head=GATE + key)
    result.assert_outcomes(**{outcome: 1})
    assert "is inconclusive: measured" in result.stdout.str() or outcome == "passed"
    if outcome == "failed":
        result.stdout.fnmatch_lines(
            ["*200 images cannot tell it from *; at this figure about * would.", "*inconclusive (fail)"]
        )


def test_a_second_run_attacks_nothing(pytester, gate):
    gate(REQUIREMENTS, "--robust-report=report")
    assert results(pytester)["spent"]["sets_crafted"] == 1
    gate(REQUIREMENTS, "--robust-report=report").assert_outcomes(passed=2)
    spent = results(pytester)["spent"]
    assert (spent["sets_crafted"], spent["sets_reused"]) == (0, 1)


def test_another_model_is_attacked_again(pytester, gate):
    gate()
    gate(REQUIREMENTS, "--robust-report=report", release=RELEASE.replace("[1.0] * 8 + [-1.0]", "[1.1] * 8 + [-1.0]"))
    assert results(pytester)["spent"]["sets_crafted"] == 1


MISTAKES = {
    "a typo": (GATE, "[[require]]\natleast = 0.5", RELEASE, 'robust.toml:5: unknown key "atleast" in [[require]]; did'),
    "an unknown attack": (
        GATE, '[[require]]\nattack = "pdg"\nat_least = 0.5', RELEASE,
        "robust.toml:5: unknown attack 'pdg'; did you mean",
    ),
    "a budget beyond one": (
        GATE, '[[require]]\nattack = "pgd"\neps = 8\nat_least = 0.5', RELEASE, "robust.toml:6: eps = 8, but images are",
    ),
    "a parameter that the attack does not take": (
        GATE, '[[require]]\nattack = "fgsm"\nmax_iters = 8\nat_least = 0.5', RELEASE,
        'robust.toml:6: unknown key "max_iters"',
    ),
    "a parameter that is no number": (
        GATE, '[[require]]\nattack = "pgd"\nsteps = "many"\nat_least = 0.5', RELEASE,
        "robust.toml:6: the attack 'pgd': steps='many' is no number: write 40, without quotes or brackets.",
    ),
    "a missing file": (
        GATE.replace("release:model", "model.pt"), REQUIREMENTS, RELEASE, "robust.toml:2: the model file",
    ),
    "a factory that raises": (
        GATE, REQUIREMENTS, RELEASE.replace("def model():", "def model():\n    raise KeyError('layer3')"),
        "robust.toml:2: the model factory 'release:model' raised KeyError: 'layer3' (release.py:9): mend the factory.",
    ),
    "data that raise": (
        GATE, REQUIREMENTS, RELEASE.replace("def data():", "def data():\n    raise FileNotFoundError('test.npz')"),
        "robust.toml:3: the data factory 'release:data' raised FileNotFoundError: test.npz (release.py:",
    ),
    "missing data": (
        GATE.replace("release:data", "images"), REQUIREMENTS, RELEASE, "robust.toml:3: there is no folder of images",
    ),
    "a norm that the attack does not have": (
        GATE, '[[require]]\nattack = "deepfool"\nnorm = "linf"\nat_least = 0.5', RELEASE,
        "robust.toml:4: the attack 'deepfool' works in l2, not in linf",
    ),
    "a metric that the model cannot give": (
        GATE, '[[require]]\nmetric = "rejection"\nat_least = 0.5', RELEASE,
        "robust.toml:4: the model 'release:model' never rejects, so it has no rejection rate:",
    ),
    "a drop without a baseline": (
        GATE, "[[require]]\nmax_drop_from_baseline = 0.01", RELEASE,
        "robust.toml:4: 'clean accuracy drop <= 0.01' needs a baseline: give the last release's with --robust-baseline",
    ),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_sentence_and_no_traceback(pytester, gate, mistake):
    head, requirements, release, sentence = MISTAKES[mistake]
    result = gate(requirements, head=head, release=release)
    out = result.stdout.str()
    assert sentence in out
    assert "Traceback" not in out
    assert "INTERNALERROR" not in out
    assert "exception" not in out
    outcomes = result.parseoutcomes()
    assert outcomes.get("errors", 0) + outcomes.get("failed", 0) >= 1
    assert "passed" not in outcomes
    assert "skipped" not in outcomes


@pytest.mark.parametrize(("options", "whole"), [((), False), (("--tb=long",), True), (("--tb=native",), True)])
def test_a_bug_of_the_model_has_its_line_and_its_traceback_for_who_asks(gate, options, whole):
    broken = RELEASE.replace("def data", "    return network.nothing\n\ndef data").replace("    return network\n", "")
    result = gate("\n[[require]]\nat_least = 0.9\n", *options, release=broken)
    result.assert_outcomes(failed=1)
    line = broken[: broken.index("network.nothing")].count("\n") + 1
    result.stdout.fnmatch_lines([f"*AttributeError: 'Sequential' object has no attribute 'nothing' (*:{line}): mend*"])
    assert ("return network.nothing" in result.stdout.str()) is whole


def test_a_warning_of_train_mode_is_about_the_line_that_names_the_model(gate):
    result = gate("[[require]]\nat_least = 0.9")
    result.stdout.fnmatch_lines(["*robust.toml:2: TrainModeWarning: release:model is in train mode: *"])
    assert result.stdout.str().count("TrainModeWarning") == 1
