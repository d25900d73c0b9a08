"""What this release promises: the build fails where it does not hold."""

import pytest


def test_accuracy(robust, my_model, my_data):
    assert robust.evaluate(my_model, my_data).accuracy.lower >= 0.85


def test_robust_accuracy(robust, my_model, my_data):
    result = robust.evaluate(my_model, my_data, attack="pgd", eps=0.1)
    assert result.accuracy.lower >= 0.6


@pytest.mark.parametrize("attack", ["pgd", "square"])
def test_small_perturbations(robust, my_model, my_data, attack):
    """An attack with gradients and one without: a defense that only hides its gradients does not pass the second."""
    result = robust.evaluate(my_model, my_data, attack=attack, eps="8/255", steps=100)
    assert result.attack_success_rate.upper <= 0.1
    assert result.norms["linf"].max() <= 8 / 255 + 1e-6
