"""The contract, and two assertions of one's own."""

from confidence import Confidence

from pytest_robust.testing import check_defense


def test_it_keeps_the_contract(robust_bench):
    check_defense(Confidence, robust_bench)


def test_it_rejects_few_clean_images(robust_bench):
    clean = robust_bench.evaluate(robust_bench.defend("confidence"))
    assert clean.rejection.upper <= 0.15


def test_it_breaks_where_the_attacker_knows_of_it(robust_bench):
    """What its `limitation` says: this defense is an example, and no protection."""
    defended = robust_bench.defend("confidence")
    surface = robust_bench.surface(defended, "adaptive")
    adversarial = robust_bench.attack(surface, robust_bench.attack_named("pgd", eps=0.2, eps_step=0.02))
    assert robust_bench.evaluate(defended, adversarial).error.lower > 0.5
