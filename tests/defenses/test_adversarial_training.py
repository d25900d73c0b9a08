"""Adversarial training: which loss its parameters make, on which budget, and that it does what it is for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pytest_robust.bench.bench import Bench
from pytest_robust.bench.settings import Settings
from pytest_robust.defenses.adversarial_training import EPS, AdversarialTraining
from pytest_robust.defenses.distillation import Distillation
from pytest_robust.defenses.none import Undefended
from pytest_robust.errors import SettingsError
from pytest_robust.evaluation.compare import first_greater
from pytest_robust.evaluation.verdict import Verdict
from pytest_robust.models.adversarial_mix import AdversarialMix
from pytest_robust.testing import check_defense
from pytest_robust.threats.defended import ThreatModel


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    whole = Bench(Settings(cache=tmp_path_factory.mktemp("store"), device="cpu"))
    return whole.with_profile(architecture="mlp", train_images=800, epochs=15, test_images=300, learning_rate=0.1)


def test_by_default_it_is_fgsm_mixing_at_the_data_sets_budget() -> None:
    for dataset, eps in EPS.items():
        assert AdversarialTraining().loss(dataset) == AdversarialMix(eps, eps, 1, False, 0.5)


def test_a_data_set_that_nobody_chose_a_budget_for_gets_the_smaller_one() -> None:
    assert AdversarialTraining().loss("somebody's").eps == min(EPS.values())
    assert AdversarialTraining(eps=0.2).loss("somebody's").eps == 0.2


def test_several_steps_reach_two_and_a_half_times_the_budget() -> None:
    madry = AdversarialTraining(eps=0.2, max_iter=10, random_start=True, rho=0.0)
    assert madry.loss("mnist") == AdversarialMix(0.2, 0.05, 10, True, 1.0)
    assert AdversarialTraining(eps=0.2, eps_step=0.01, max_iter=10).loss("mnist").eps_step == 0.01


@pytest.mark.parametrize("broken", [{"eps": 0.0}, {"eps": 1.5}, {"rho": 1.0}, {"rho": -0.1}, {"max_iter": 0}])
def test_wrong_parameters_are_one_sentence(broken: dict[str, float]) -> None:
    with pytest.raises(SettingsError, match="cannot be trained"):
        AdversarialTraining(**broken).loss("digits")  # type: ignore[arg-type]


def test_hardening_changes_the_loss_and_lets_no_clean_accuracy_stop_it(bench: Bench) -> None:
    recipe = bench.recipe(seed=5, patience=3)
    (hardened,) = AdversarialTraining(eps=0.1).harden([recipe], bench)
    assert hardened.loss == AdversarialMix(0.1, 0.1)
    assert (hardened.validation, hardened.patience) == (None, None)
    before = {"validation": recipe.validation, "patience": recipe.patience}
    assert replace(hardened, loss=recipe.loss, **before).settings == recipe.settings  # type: ignore[arg-type]


def test_a_recipe_with_a_loss_of_its_own_is_refused(bench: Bench) -> None:
    hardened = AdversarialTraining().harden([bench.recipe()], bench)
    with pytest.raises(SettingsError, match=r"distillation replaces the loss.*has AdversarialMix already"):
        Distillation().harden(hardened, bench)


@pytest.mark.parametrize(
    ("trained", "attack"),
    [
        (AdversarialTraining(eps=0.15), {"name": "fgsm", "eps": 0.15}),
        (
            AdversarialTraining(eps=0.15, max_iter=4, random_start=True, rho=0.0),
            {"name": "pgd", "eps": 0.15, "eps_step": 0.03, "max_iter": 10},
        ),
    ],
    ids=["fgsm mixing", "pgd training"],
)
def test_it_is_more_accurate_under_the_attack_it_trained_on(
    bench: Bench, trained: AdversarialTraining, attack: dict[str, object]
) -> None:
    params = {k: v for k, v in attack.items() if k != "name"}
    chosen = bench.attack_named(str(attack["name"]), **params)

    def under_own_gradient(defense: AdversarialTraining | Undefended) -> object:
        defended = bench.defend(defense)
        return bench.evaluate(defended, bench.attack(defended.surface(ThreatModel.ADAPTIVE), chosen))

    gained = under_own_gradient(trained).accuracy_minus(under_own_gradient(Undefended()))  # type: ignore[attr-defined]
    assert first_greater(gained).verdict is Verdict.HOLDS


def test_it_keeps_the_contract(bench: Bench, tmp_path: Path) -> None:
    defended = check_defense(AdversarialTraining, bench)
    assert defended.surface(ThreatModel.WHITE_BOX) is defended.surface(ThreatModel.ADAPTIVE)
    assert defended.surface(ThreatModel.GRAY_BOX) is bench.classifier
