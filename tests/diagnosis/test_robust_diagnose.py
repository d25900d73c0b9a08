"""`robust.diagnose`: the same checks on a model and images of the user's own forms."""

from __future__ import annotations

import masked as m
import pytest
import torch
from torch import nn

from pytest_robust.bench.bench import Bench
from pytest_robust.diagnosis.check import Outcome
from pytest_robust.errors import SettingsError, TrainModeWarning
from pytest_robust.gate.robust import Robust

CHECKS = ["gradient_available", "unbounded_attack"]


@pytest.fixture
def robust(bench: Bench) -> Robust:
    return Robust(bench)


@pytest.fixture
def images(bench: Bench) -> tuple[torch.Tensor, torch.Tensor]:
    return bench.test_split.x[:60], bench.test_split.y[:60]


def test_an_own_module_on_own_images(robust: Robust, images: tuple[torch.Tensor, torch.Tensor], bench: Bench) -> None:
    plain = robust.diagnose(bench.classifier.network, images, eps="26/255", images=40, checks=CHECKS)
    assert plain.sound, str(plain)
    assert "eps=0.101961" in plain.attack
    rounded = robust.diagnose(m.Rounded(bench.classifier).eval(), images, eps="26/255", images=40, checks=CHECKS)
    assert [check.name for check in rounded.errors] == CHECKS


def test_steps_norm_and_a_surrogate_of_ones_own(
    robust: Robust, images: tuple[torch.Tensor, torch.Tensor], bench: Bench
) -> None:
    given = bench.surrogate.network
    check = "whitebox_beats_transfer"
    diagnosis = robust.diagnose(
        bench.classifier.network, images, "pgd", eps=1.0, norm="l2", steps=10, checks=[check], surrogate=given
    )
    assert diagnosis[check].outcome is Outcome.SOUND
    assert "norm=2, eps=1, eps_step=0.25, max_iter=10" in diagnosis.attack


def test_a_surrogate_is_trained_on_images_that_are_given(
    robust: Robust, images: tuple[torch.Tensor, torch.Tensor], bench: Bench
) -> None:
    wide = torch.nn.functional.interpolate(images[0], size=12), images[1]
    training = torch.nn.functional.interpolate(bench.train_split.x[:200], size=12), bench.train_split.y[:200]
    shrinking = nn.Sequential(nn.AdaptiveAvgPool2d(8), bench.classifier.network).eval()
    check = "whitebox_beats_transfer"
    without = robust.diagnose(shrinking, wide, images=40, checks=[check])
    assert without[check].outcome is Outcome.NOT_APPLICABLE
    assert robust.diagnose(shrinking, wide, images=40, checks=[check], training=training)[check].n > 0


def test_a_model_in_train_mode_is_diagnosed_in_eval_mode_and_left_as_it_was(
    robust: Robust, images: tuple[torch.Tensor, torch.Tensor], bench: Bench
) -> None:
    model = m.Around(bench.classifier).train()
    with pytest.warns(TrainModeWarning, match="is in train mode"):
        assert robust.diagnose(model, images, images=20, checks=["deterministic_forward", "mode_restored"]).sound
    assert model.training


def test_a_diagnosis_needs_an_attack(robust: Robust, images: tuple[torch.Tensor, torch.Tensor], bench: Bench) -> None:
    with pytest.raises(SettingsError, match="needs an attack"):
        robust.diagnose(bench.classifier.network, images, attack=None)  # type: ignore[arg-type]
