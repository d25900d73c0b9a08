"""The gate and defended models that draw random numbers: one draw per image is no evidence."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from pytest_robust.errors import SettingsError, UnreliableEvaluationWarning
from pytest_robust.models.dropout_masks import image_keys
from pytest_robust.threats.decision import Decision
from pytest_robust.threats.defended import Defended, network_alone

BUDGET = 4 / 255


def drawing(toy, chosen, fingerprint="drawing") -> Defended:
    """Answers another class on the images that ``chosen(x)`` says."""
    plain = network_alone(toy, "victim")

    def decide(x: Tensor) -> Decision:
        answer = plain.decide_batch(x)
        return Decision(torch.where(chosen(x), (answer.label + 1) % 4, answer.label), answer.rejected, answer.score)

    return replace(plain, decide_batch=decide, name="drawing", fingerprint=fingerprint)


def test_what_is_random_by_image_is_redrawn(robust, toy, images):
    victim = replace(drawing(toy, lambda x: image_keys(x) % 4 == 0), random_by_image=True)
    once = robust.evaluate(replace(victim, random_by_image=False), images, "pgd", eps=BUDGET)
    redrawn = robust.evaluate(victim, images, "pgd", eps=BUDGET)
    assert once.accuracy.k > 20
    assert redrawn.accuracy.k == 0  # by chance an image holds out with a probability of 0.75 ** 60
    assert float(redrawn.norms["linf"].max()) <= BUDGET * 1.0001
    assert redrawn.attack_success_rate.value == 1
    assert robust.evaluate(victim, images).accuracy.k > 20, "nobody attacks"


def test_an_attack_that_no_noise_can_be_added_to_cannot_judge_it(robust, toy, images):
    victim = replace(drawing(toy, lambda x: image_keys(x) % 4 == 0), random_by_image=True)
    with pytest.raises(SettingsError, match="redrawn within a budget in L∞ or L2, and deepfool"):
        robust.evaluate(victim, images, "deepfool")


def test_what_draws_from_torchs_generator_is_unreliable_under_attack_alone(robust, toy, images):
    victim = drawing(toy, lambda x: torch.rand(len(x)) < 0.1)
    assert robust.evaluate(victim, images).reliable
    with pytest.warns(UnreliableEvaluationWarning, match="an attacker asks again"):
        result = robust.evaluate(victim, images, "pgd", eps=BUDGET)
    assert "of the first attacked images are decided otherwise with other random numbers" in result.checks[0]
    certain = drawing(toy, lambda x: x[:, 0, 0, 0] > 2, "certain")
    assert robust.evaluate(certain, images, "pgd", eps=BUDGET).reliable


class Scaled(nn.Module):
    """Logits times a number that stands nowhere in the module."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return float(os.environ["SCALE_OF_THE_LOGITS"]) * self.inner(x)


def test_a_scale_from_elsewhere_is_another_model(robust, toy, images, monkeypatch):
    found = set()
    for scale in ("1", "1", "1000"):
        monkeypatch.setenv("SCALE_OF_THE_LOGITS", scale)
        found.add(robust.model(Scaled(toy).eval(), images).fingerprint)
    assert len(found) == 2
