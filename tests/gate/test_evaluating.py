"""`Robust.evaluate`: what its figures are, that it caches by what the model is, and that it leaves no trace."""

from __future__ import annotations

import copy
import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import nn

from pytest_robust.errors import SettingsError, TrainModeWarning, UnreliableEvaluationWarning
from pytest_robust.evaluation.verdict import Verdict
from pytest_robust.threats.defended import network_alone

BUDGET = 16 / 255


def test_clean_accuracy_is_the_share_of_right_answers(robust, toy, images):
    result = robust.evaluate(toy, images)
    right = toy.predict(images.x) == images.y
    assert (result.accuracy.k, result.accuracy.n) == (int(right.sum()), len(images))
    assert result.attack_success_rate is None
    assert not result.norms
    assert result.clean_accuracy == result.accuracy


def test_robust_accuracy_is_what_is_left_of_all_images(robust, toy, images):
    result = robust.evaluate(toy, images, "pgd", eps=BUDGET)
    attacked = toy.predict(result.adversarial.x) == images.y
    assert 0 < result.accuracy.k < len(images)
    assert result.accuracy.k == int(attacked.sum())
    assert result.attack_success_rate.k == len(images) - result.accuracy.k
    assert float(result.norms["linf"].max()) <= BUDGET * 1.0001


def test_an_image_that_is_wrong_as_it_is_counts_as_wrong_whatever_the_attack_makes_of_it(robust):
    def model(x):
        """Class 1 far from a brightness of 0.45; one large step takes an image from one side of it to the other."""
        brightness = x.mean((1, 2, 3))
        return torch.stack([torch.zeros_like(brightness), 10 * (brightness - 0.45) ** 2 - 0.1], 1)

    x = torch.cat([torch.full((5, 1, 2, 2), 0.5), torch.full((15, 1, 2, 2), 0.9)])
    with pytest.warns(UnreliableEvaluationWarning):  # always answering class 1 is better than this
        result = robust.evaluate(model, (x, torch.ones(20, dtype=torch.int64)), "fgsm", eps=0.5)
    assert result.clean.correct.tolist() == [False] * 5 + [True] * 15
    assert result.attacked.correct.tolist() == [True] * 5 + [False] * 15  # the attack has repaired the first five
    assert not bool(result.correct.any())
    assert (result.attack_success_rate.k, result.attack_success_rate.n) == (15, 15)


def test_an_unchanged_model_is_attacked_once(robust, toy, images):
    first = robust.evaluate(toy.network, images, "pgd", eps=BUDGET, mean=0.45)
    again = robust.evaluate(copy.deepcopy(toy.network), images, "pgd", eps=BUDGET, mean=0.45)
    assert robust.bench.ledger.count("crafted") == 1
    assert robust.bench.ledger.count("reused") == 1
    assert torch.equal(first.correct, again.correct)
    assert first.worst() == again.worst()


def test_a_model_whose_answers_depend_on_the_batch_is_no_evidence(robust, toy, images):
    class Crowded(nn.Module):
        def __init__(self):
            super().__init__()
            self.network = toy.network

        def forward(self, x):
            return self.network(x * (len(x) > 30))

    with pytest.warns(UnreliableEvaluationWarning, match="in batches of another size"):
        result = robust.evaluate(Crowded().eval(), images)
    assert any("in batches of another size" in check for check in result.checks)


def test_a_changed_weight_is_another_model(robust, toy, images):
    network = copy.deepcopy(toy.network)
    robust.evaluate(network, images, "pgd", eps=BUDGET, mean=0.45)
    with torch.no_grad():
        network[-1].bias[0] += 0.5
    robust.evaluate(network, images, "pgd", eps=BUDGET, mean=0.45)
    assert robust.bench.ledger.count("crafted") == 2


def test_a_function_is_another_model_when_what_it_reads_from_elsewhere_changes(robust, toy, images):
    held = {"network": toy}

    class Service:
        def predict(self, x):
            return held["network"](x)

    service = Service()
    clean = robust.evaluate(service.predict, images, "fgsm", eps=BUDGET)
    other = copy.deepcopy(toy)
    with torch.no_grad():
        other.network[-1].bias[0] += 100
    held["network"] = other
    with pytest.warns(UnreliableEvaluationWarning, match="no better than guessing"):
        changed = robust.evaluate(service.predict, images, "fgsm", eps=BUDGET)
    assert changed.clean_accuracy.value == 0.25
    assert changed.clean_accuracy < clean.clean_accuracy
    assert robust.bench.ledger.count("crafted") == 2


def test_a_function_that_stays_what_it_is_is_attacked_once(robust, toy, images):
    for _ in range(2):
        robust.evaluate(lambda x: toy(x), images, "fgsm", eps=BUDGET)
    assert robust.bench.ledger.count("crafted") == 1


def test_a_module_is_evaluated_in_eval_mode_and_left_as_it_was(robust, toy, images):
    network = copy.deepcopy(toy.network).train()
    network[1].eval()  # somebody has frozen the batch normalisation
    network[0].weight.requires_grad_(False)
    network[-1].weight.grad = torch.ones_like(network[-1].weight)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    with pytest.warns(TrainModeWarning, match="Sequential is in train mode") as warned:
        result = robust.evaluate(network, images, "pgd", eps=BUDGET, mean=0.45)
    assert [each.filename for each in warned] == [__file__]
    assert result.clean_accuracy == robust.evaluate(toy, images).accuracy
    assert network.training
    assert network[0].training
    assert not network[1].training
    assert not network[0].weight.requires_grad
    assert bool((network[-1].weight.grad == 1).all())
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())


def test_mean_and_std_per_channel_are_what_the_model_sees(robust, toy, images):
    seen = []

    def model(x):
        seen.append(x)
        return toy(x.mean(1, keepdim=True) * 0 + images.x[: len(x)])

    colour = images.x.repeat(1, 3, 1, 1)
    robust.evaluate(model, (colour, images.y), mean=(0.1, 0.2, 0.3), std=(1.0, 2.0, 4.0))
    expected = torch.stack([(images.x[0, 0] - m) / s for m, s in ((0.1, 1), (0.2, 2), (0.3, 4))])
    assert torch.allclose(seen[0][0], expected)


def test_a_defended_model_is_attacked_on_its_adaptive_surface(robust, toy, images):
    result = robust.evaluate(network_alone(toy, "alone"), images, "pgd", eps=BUDGET)
    assert result.model == "alone"
    assert result.accuracy == robust.evaluate(toy, images, "pgd", eps=BUDGET).accuracy


def test_more_logits_than_labels_is_a_model_of_more_classes(robust, toy, images):
    few = images.y < 3
    result = robust.evaluate(toy, (images.x[few], images.y[few]), "pgd", eps=BUDGET)
    assert result.data.num_classes == 4
    assert result.clean_accuracy.n == int(few.sum())


def test_the_intervals_have_the_confidence_that_was_asked_for(robust, toy, images):
    narrow = robust.evaluate(toy, images, "pgd", eps=BUDGET, confidence=0.8).accuracy
    wide = robust.evaluate(toy, images, "pgd", eps=BUDGET, confidence=0.99).accuracy
    assert wide.lower < narrow.lower < narrow.upper < wide.upper


class Rounded(nn.Module):
    """A model with a step that has no gradient."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner((x * 255).round() / 255)


def test_masked_gradients_are_a_check_and_no_accuracy_holds_on_them(robust, toy, images):
    with pytest.warns(UnreliableEvaluationWarning, match="gradient"):
        result = robust.evaluate(Rounded(toy).eval(), images, "pgd", eps=BUDGET)
    assert not result.reliable
    assert "exactly zero on 100.0%" in result.checks[0]
    assert result.at_least(0.1).verdict is Verdict.UNRELIABLE
    assert result.at_least(0.9999).verdict is not Verdict.HOLDS
    assert result.at_most(0.001).verdict is Verdict.UNRELIABLE, "the model only looks too strong for it"
    assert "UNRELIABLE: the surface's gradient" in result.explain()
    assert robust.evaluate(Rounded(toy).eval(), images, "square", eps=BUDGET).reliable


def test_a_reliable_result_is_judged_on_its_interval(robust, toy, images):
    result = robust.evaluate(toy, images, "pgd", eps=BUDGET)
    assert result.at_least(result.accuracy.lower - 0.01).verdict is Verdict.HOLDS
    assert result.at_least(result.accuracy.upper + 0.01).verdict is Verdict.FAILS
    assert result.at_most(result.accuracy.upper + 0.01).verdict is Verdict.HOLDS
    assert result.at_least(result.accuracy.value).verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize(
    ("threshold", "said"),
    [
        (45, r"\(45\): it must be a share in \[0, 1\]: write 0.45 for 45 %\."),
        (-3, r"\(-3\): it must be a share in \[0, 1\]\."),
        ("0.45", r"\('0.45'\): it must be a number\."),
        (math.nan, r"\(nan\): it must be a number\."),
        (None, r"\(None\): it must be a number\."),
        (True, r"\(True\): it must be a number\."),
    ],
)
@pytest.mark.parametrize("method", ["at_least", "at_most"])
def test_a_threshold_that_is_no_share_judges_nothing(robust, toy, images, method, threshold, said):
    with pytest.raises(SettingsError, match=rf"^result\.{method}{said}$"):
        getattr(robust.evaluate(toy, images), method)(threshold)


@pytest.mark.parametrize(("method", "threshold"), [("at_least", 0), ("at_most", 1.0)])
def test_a_threshold_that_every_share_meets_is_refused(robust, toy, images, method, threshold):
    with pytest.raises(SettingsError, match=rf"^result\.{method}\({threshold}\): every figure meets it"):
        getattr(robust.evaluate(toy, images), method)(threshold)


def test_any_number_can_be_a_threshold(robust, toy, images):
    result = robust.evaluate(toy, images)
    for threshold in (np.float32(0.5), torch.tensor(0.5), Fraction(1, 2)):
        assert result.at_least(threshold) == result.at_least(0.5)


def test_results_json_and_the_result_have_one_attack_success_rate(robust, toy, images):
    labels = images.y.clone()
    labels[:9] = (labels[:9] + 1) % 4  # wrong before anybody attacks
    result = robust.evaluate(toy, (images.x, labels), "pgd", eps=BUDGET)
    written = next(e["evaluation"] for e in robust.bench.ledger.drain() if "attack_success_rate" in str(e))
    assert result.attack_success_rate.n == len(images) - 9
    assert written["attack_success_rate"]["value"] == result.attack_success_rate.value
    assert result.attacked.success_rate == result.attack_success_rate
