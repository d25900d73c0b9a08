"""A plain network and a PGD-trained one raise no check; others of other seeds do not either."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pytest_robust.bench.bench import Bench
from pytest_robust.defenses.adversarial_training import AdversarialTraining
from pytest_robust.diagnosis.check import Outcome
from pytest_robust.diagnosis.diagnose import diagnose
from pytest_robust.diagnosis.probes import PROBES

#: Madry et al.'s, at the budget that the attacks have.
PGD_TRAINED = AdversarialTraining(eps=0.1, max_iter=7, random_start=True, rho=0.0)
#: For these a single network has nothing to look at.
OF_DEFENSES = {"detector_split_clean"}


def check_silent(bench: Bench, model: object, **arguments: object) -> None:
    diagnosis = diagnose(bench, model, **arguments)  # type: ignore[arg-type]
    assert diagnosis.sound, str(diagnosis)
    skipped = {check.name for check in diagnosis if check.outcome is Outcome.NOT_APPLICABLE}
    assert skipped == OF_DEFENSES
    assert len(diagnosis) == len(PROBES)


def test_a_plain_network(bench: Bench) -> None:
    check_silent(bench, bench.classifier)


def test_a_pgd_trained_network(bench: Bench) -> None:
    check_silent(bench, bench.defend(PGD_TRAINED), images=60)


@pytest.mark.slow
def test_a_plain_network_in_l2(bench: Bench) -> None:
    check_silent(bench, bench.classifier, attack=bench.attack_named("pgd", norm=2, eps=1.0, eps_step=0.1))


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_networks_of_other_seeds(make_bench: Callable[[int], Bench], seed: int) -> None:
    bench = make_bench(seed)
    check_silent(bench, bench.classifier)
    check_silent(bench, bench.defend(PGD_TRAINED))
