"""Distillation: what the student learns from, at which temperature it answers, and what it hides from whom."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from pytest_robust.bench.bench import Bench
from pytest_robust.bench.settings import Settings
from pytest_robust.data.split import Split
from pytest_robust.defenses.distillation import Distillation
from pytest_robust.defenses.none import Undefended
from pytest_robust.errors import SettingsError
from pytest_robust.models.recipe import Recipe
from pytest_robust.models.soft_labels import HotCrossEntropy, SoftLabels
from pytest_robust.testing import check_defense
from pytest_robust.threats.defended import ThreatModel


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    whole = Bench(Settings(cache=tmp_path_factory.mktemp("store"), device="cpu"))
    return whole.with_profile(architecture="mlp", train_images=800, epochs=15, test_images=300, learning_rate=0.1)


def test_the_student_learns_its_teachers_logits(bench: Bench) -> None:
    recipe = bench.recipe(seed=3)
    (student,) = Distillation().harden([recipe], bench)
    (taught_by,) = Distillation().teachers([recipe])
    teacher = bench.train(taught_by)
    assert (taught_by.loss, student.loss) == (HotCrossEntropy(10.0), SoftLabels(10.0))
    assert torch.equal(student.companion, teacher.logits_of(bench.train_split.x))
    assert student.architecture == taught_by.architecture == recipe.architecture


def test_of_several_splits_it_learns_all(bench: Bench) -> None:
    halves = bench.train_split.subset(range(300)), bench.train_split.subset(range(300, 800))
    (student,) = Distillation().harden([bench.recipe(*halves, epochs=1)], bench)
    assert student.companion is not None
    assert len(student.companion) == 800


@given(st.floats(0.5, 50.0), st.floats(1e-4, 1.0), st.sampled_from(["sgd", "adam"]))
def test_steps_are_as_long_as_at_temperature_one(temperature: float, rate: float, optimizer: str) -> None:
    toy = Split(torch.rand(4, 1, 2, 2), torch.zeros(4, dtype=torch.int64), 2, "toy")
    recipe = Recipe("mlp", (toy,), learning_rate=rate, optimizer=optimizer)  # type: ignore[arg-type]
    (teacher,) = Distillation(temperature).teachers([recipe])
    factor = temperature if optimizer == "sgd" else 1.0
    assert teacher.learning_rate == pytest.approx(rate * factor)
    assert teacher.learning_rate * teacher.weight_decay == pytest.approx(rate * recipe.weight_decay)


def test_the_gradient_of_the_logits_is_so_many_times_smaller() -> None:
    logits, y = torch.zeros(5, 10, requires_grad=True), torch.arange(5)
    (cold,) = torch.autograd.grad(F.cross_entropy(logits, y), logits)
    (hot,) = torch.autograd.grad(F.cross_entropy(logits / 10.0, y), logits)
    assert torch.allclose(10.0 * hot, cold)


def test_it_trains_and_answers_at_temperature_one(bench: Bench) -> None:
    defended = bench.defend(Distillation())
    network, split = defended.networks["network"], bench.test_split
    logits = network.logits_of(split.x)
    decision = defended.decide(split.x)
    assert torch.equal(decision.label, logits.argmax(1))
    assert torch.allclose(decision.score, 1 - logits.softmax(1).amax(1))
    assert float((decision.label == split.y).float().mean()) > 0.85
    # At temperature one it is far surer of itself than the undefended network: that hides the plain gradient.
    margin = F.cross_entropy(logits, split.y, reduction="none").median()
    assert margin < F.cross_entropy(bench.classifier.logits_of(split.x), split.y, reduction="none").median()


def test_who_attacks_the_logits_is_not_stopped(bench: Bench) -> None:
    """Its limitation: FGSM on what does not saturate fools about as many as without it."""
    attack = bench.attack_named("bim", eps=0.15, eps_step=0.03, max_iter=10)
    rates = []
    for defense in (Distillation(), Undefended()):
        defended = bench.defend(defense)
        made = bench.attack(defended.surface(ThreatModel.ADAPTIVE), attack)
        assert made.provenance["zero_gradient"] == 0.0
        rates.append(bench.evaluate(defended, made).accuracy.value)
    assert rates[0] < rates[1] + 0.15


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("inf"), float("nan")])
def test_wrong_temperatures_are_one_sentence(bench: Bench, temperature: float) -> None:
    with pytest.raises(SettingsError, match="temperature must be a number above 0"):
        Distillation(temperature).fit(bench)


def test_it_keeps_the_contract(bench: Bench) -> None:
    assert check_defense(Distillation, bench).name == "distillation"
