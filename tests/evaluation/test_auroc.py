"""AUROC agrees with scikit-learn, counts ties half, and its interval covers."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from pytest_robust.evaluation.auroc import auroc

scores = st.lists(st.integers(-5, 5).map(float), min_size=2, max_size=40)


@given(scores, scores)
def test_agrees_with_scikit_learn(positive: list[float], negative: list[float]) -> None:
    labels = [1] * len(positive) + [0] * len(negative)
    area = auroc(torch.tensor(positive), torch.tensor(negative))
    assert area.value == pytest.approx(roc_auc_score(labels, positive + negative))
    assert 0 <= area.lower <= area.value <= area.upper <= 1


@given(scores, scores)
def test_mirrors(positive: list[float], negative: list[float]) -> None:
    forward = auroc(torch.tensor(positive), torch.tensor(negative)).value
    assert forward + auroc(torch.tensor(negative), torch.tensor(positive)).value == pytest.approx(1)


def test_perfect_separation_is_not_certainty() -> None:
    area = auroc(torch.arange(10.0) + 20, torch.arange(10.0))
    assert area.value == 1
    assert area.lower < 0.8


@pytest.mark.parametrize(("positives", "negatives"), [(1, 200), (5, 200), (200, 5)])
def test_of_a_handful_of_images_in_a_class_nothing_is_certain(positives: int, negatives: int) -> None:
    generator = torch.Generator().manual_seed(0)
    area = auroc(torch.randn(positives, generator=generator) + 1, torch.randn(negatives, generator=generator))
    assert (area.lower, area.upper) == (0.0, 1.0)


def test_its_interval_covers_with_few_images_in_a_class() -> None:
    """Simulated: 95 % intervals of eight positives and 200 negatives."""
    generator, truth, runs = torch.Generator().manual_seed(0), 0.5 * (1 + math.erf(0.5)), 400
    areas = [auroc(torch.randn(8, generator=generator) + 1, torch.randn(200, generator=generator)) for _ in range(runs)]
    covered = sum(area.lower <= truth <= area.upper for area in areas)
    assert covered >= 0.92 * runs


def test_no_images_tell_nothing() -> None:
    area = auroc(torch.empty(0), torch.ones(3))
    assert math.isnan(area.value)
    assert (area.lower, area.upper) == (0, 1)


def test_interval_covers_the_true_area() -> None:
    generator = torch.Generator().manual_seed(0)
    truth = 0.5 * (1 + math.erf(1 / 2))  # P(N(1,1) > N(0,1)) = Φ(1/√2)
    covered = 0
    for _ in range(300):
        area = auroc(torch.randn(80, generator=generator) + 1, torch.randn(60, generator=generator))
        covered += area.lower <= truth <= area.upper
    assert covered >= 275  # 95 % of 300, less three standard deviations
