"""What users hand to the bench: a classifier of their own works, and mistakes get a sentence instead of a traceback."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pytest_robust.bench.bench import Bench
from pytest_robust.bench.settings import Settings
from pytest_robust.data.split import Split
from pytest_robust.errors import SettingsError, UnreliableEvaluationWarning
from pytest_robust.models.classifier import Classifier
from pytest_robust.threats.decision import Decision
from pytest_robust.threats.defended import Defended, ThreatModel

SHAPE = (1, 8, 8)


def linear() -> Classifier:
    torch.manual_seed(0)
    return Classifier(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), num_classes=10, input_shape=SHAPE, name="own")


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(Settings(cache=tmp_path))


@pytest.fixture
def split() -> Split:
    generator = torch.Generator().manual_seed(0)
    return Split(torch.rand(20, *SHAPE, generator=generator), torch.randint(0, 10, (20,), generator=generator), 10)


def test_a_classifier_of_ones_own_is_attacked_and_evaluated_untrained(bench: Bench, split: Split) -> None:
    own = linear()
    clean = bench.evaluate(own, split)
    attacked = bench.evaluate(own, bench.attack(own, bench.attack_named("pgd", eps=0.3, eps_step=0.03), split))
    assert attacked.accuracy.value <= clean.accuracy.value
    assert clean.accuracy.value == int((own.predict(split.x) == split.y).sum()) / 20
    assert bench.ledger.count("trained") == 0


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda b, _: b.surface(linear(), "adaptive"), "needs a defended model, but .* is a Classifier"),
        (lambda b, _: b.surface("dustbin", "adaptive"), r"not str: write bench.surface\(bench.defend\('dustbin'\)"),
        (lambda b, s: b.attack(b_defended(b), "fgsm", s), r"bench.surface\(defended, 'adaptive'\)"),
        (lambda b, s: b.attack(linear().network, "fgsm", s), "wrap it: pytest_robust.Classifier"),
        (lambda b, s: b.attack("dustbin", "fgsm", s), "needs a Classifier to attack, not 'dustbin'"),
        (lambda b, s: b.attack(linear(), object(), s), "write 'art:NAME'"),
        (lambda b, s: b.evaluate("dustbin", s), r"bench.defend\('dustbin'\) gives one"),
        (lambda b, s: b.evaluate(linear().network, s), "wrap it: pytest_robust.Classifier"),
        (lambda b, s: b.evaluate(linear(), s.x), "not on a Tensor"),
        (lambda b, _: b.attack_named("pgd", eps="8/255"), "write a number, 8/255 and not '8/255'"),
        (
            lambda b, s: b.attack(linear(), b.attack_named("bim", eps=0.5), s),
            r"20 steps of eps_step=0.01 reach only 0.2",
        ),
        (lambda b, s: b.attack(linear(), b.attack_named("art:UniversalPerturbation"), s), "an L∞ budget is in"),
        (lambda b, s: b.attack(wide(), "fgsm", s), r"takes images of shape \(1, 9, 9\)"),
        (lambda b, s: b.attack(narrow(), "fgsm", s), "gives 5 logits, but .* has 10 classes"),
    ],
)
def test_a_mistake_gets_a_sentence(bench: Bench, split: Split, call: Any, match: str) -> None:
    with pytest.raises(SettingsError, match=match):
        call(bench, split)


def b_defended(bench: Bench) -> Defended:
    return rejecting(linear(), "any", 0.0)


def wide() -> Classifier:
    return Classifier(nn.Sequential(nn.Flatten(), nn.Linear(81, 10)), num_classes=10, input_shape=(1, 9, 9))


def narrow() -> Classifier:
    return Classifier(nn.Sequential(nn.Flatten(), nn.Linear(64, 5)), num_classes=5, input_shape=SHAPE)


class Rounded(nn.Module):
    """Its gradient is zero everywhere."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return self.inner((x * 2).round() / 2)


def test_figures_of_an_attack_that_cannot_work_come_with_a_warning(bench: Bench, split: Split) -> None:
    own = linear()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        bench.evaluate(own, bench.attack(own, "fgsm", split))
    masked = Classifier(Rounded(own.network), num_classes=10, input_shape=SHAPE, name="masked")
    adversarial = bench.attack(masked, "fgsm", split)
    with pytest.warns(UnreliableEvaluationWarning, match=r"masked under fgsm.* is no evidence: .*gradient masking"):
        bench.evaluate(masked, adversarial)


def rejecting(network: Classifier, mark: str, limit: float) -> Defended:
    """A careless defense: its fingerprint says nothing of the limit, which lies in the code."""

    def decide(x: Tensor) -> Decision:
        score = x.flatten(1).mean(1)
        return Decision(network(x).argmax(1), score > limit, score)

    surfaces = dict.fromkeys((ThreatModel.WHITE_BOX, ThreatModel.ADAPTIVE), network)
    return Defended("careless", 10, decide, surfaces, torch.device("cpu"), mark)


CARELESS = """
import torch
from pytest_robust.threats.decision import Decision
from careless_helper import LIMIT

def decide(x):
    score = x.flatten(1).mean(1)
    return Decision(torch.zeros(len(x), dtype=torch.int64), score > LIMIT, score)
"""


def test_decisions_are_made_anew_when_a_helper_was_edited_whatever_the_fingerprint_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, split: Split
) -> None:
    import importlib
    import sys

    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "careless_defense.py").write_text(CARELESS)
    rates = []
    for limit in ("2.0", "-1.0"):
        (tmp_path / "careless_helper.py").write_text(f"LIMIT = {limit}\n")
        for name in ("careless_defense", "careless_helper"):
            sys.modules.pop(name, None)
        importlib.invalidate_caches()
        decide = importlib.import_module("careless_defense").decide
        surfaces = dict.fromkeys((ThreatModel.WHITE_BOX, ThreatModel.ADAPTIVE), linear())
        defended = Defended("careless", 10, decide, surfaces, torch.device("cpu"), "always the same")
        rates.append(Bench(Settings(cache=tmp_path / "cache")).evaluate(defended, split).rejection.value)
    assert rates == [0.0, 1.0]


def test_an_empty_split_is_not_the_test_split(bench: Bench, split: Split) -> None:
    adversarial = bench.attack(linear(), "fgsm", split.subset([]))
    assert len(adversarial) == 0
    assert bench.ledger.events[-1]["n"] == 0


def test_what_is_shown_of_images_and_rates_are_names_and_numbers(bench: Bench, split: Split) -> None:
    own = linear()
    adversarial = bench.attack(own, "fgsm", split)
    shown = [repr(split), repr(adversarial), repr(bench.evaluate(own, adversarial)), repr(rejecting(own, "x", 1.0))]
    assert all("tensor" not in text for text in shown)
    assert shown[0] == "Split(unnamed: 20 natural images (1, 8, 8), 10 classes)"
    assert "fgsm" in shown[1]
    assert "accuracy" in shown[2]
