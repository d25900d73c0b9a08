"""Detectors are judged on what they were not trained on, by figures whose intervals are right."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, roc_auc_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from sklearn.svm import SVC

from pytest_robust.errors import SettingsError
from pytest_robust.evaluation.auroc import auroc
from pytest_robust.evaluation.detectors import F1, Detection, cross_validated, detect
from pytest_robust.evaluation.rate import Rate
from pytest_robust.evaluation.verdict import Verdict, above


def svm():
    return make_pipeline(MinMaxScaler(), SVC(C=100, gamma=0.1))


def data(n: int = 200, apart: float = 2.0, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    labels = torch.arange(n) % 2
    return torch.randn(n, 4, generator=torch.Generator().manual_seed(seed)) + apart * labels[:, None], labels


class Recorder:
    """Keeps what it was trained on; knows the label of what it has seen and guesses 0 of what it has not."""

    seen: list[np.ndarray]

    def __init__(self, log: list[np.ndarray]) -> None:
        self.log = log

    def fit(self, x, y):
        self.known = {row.tobytes(): label for row, label in zip(x, y, strict=True)}
        self.log.append(x)
        return self

    def predict(self, x):
        return np.array([self.known.get(row.tobytes(), 0) for row in x])

    def decision_function(self, x):
        return self.predict(x).astype(float)


def test_every_answer_is_on_an_image_that_was_not_trained_on() -> None:
    features, labels = data()
    log: list[np.ndarray] = []
    found = cross_validated(lambda: Recorder(log), features, labels, 5, 0)
    assert not found.predicted.any()
    assert [len(x) for x in log] == [160] * 5
    assert found.fold.bincount().tolist() == [40] * 5


def test_entries_of_one_original_share_a_fold() -> None:
    features, labels = data()
    groups = torch.arange(200) // 4
    found = cross_validated(svm, features, labels, 5, 0, groups)
    assert all(found.fold[groups == g].unique().numel() == 1 for g in groups.unique())
    assert found.accuracy.independent == 50
    assert found.over_trivial.n == 50


def test_the_seed_decides() -> None:
    features, labels = data(apart=1.0)
    one, same, other = (cross_validated(svm, features, labels, 5, seed) for seed in (0, 0, 1))
    assert torch.equal(one.predicted, same.predicted)
    assert torch.equal(one.score, same.score)
    assert not torch.equal(one.fold, other.fold)


@pytest.mark.parametrize(
    "factory",
    [svm, lambda: RandomForestClassifier(10, random_state=0), lambda: KNeighborsClassifier(3)],
    ids=["svm", "forest", "neighbours"],
)
def test_separate_clouds_are_told_apart(factory) -> None:
    features, labels = data(apart=4.0)
    found = cross_validated(factory, features, labels.bool(), 10, 0)
    assert found.accuracy.lower > 0.9
    assert found.f1.lower > 0.9
    assert found.auc.lower > 0.9
    assert above(found.over_trivial, 0).verdict is Verdict.HOLDS


def test_noise_is_not_told_apart() -> None:
    found = [cross_validated(svm, *data(100, apart=0.0, seed=seed), 5, seed) for seed in range(40)]
    better = sum(above(each.over_trivial, 0).verdict is Verdict.HOLDS for each in found)
    assert better <= 3  # 2.5 % of 40 is one; more than three happens once in fifty such tests


def test_chance_is_inside_the_interval_of_one_detector_on_noise() -> None:
    covered = 0
    for seed in range(100):
        features, labels = data(60, apart=0.0, seed=seed)
        detector = LogisticRegression().fit(features.numpy(), labels.numpy())
        auc = detect(detector, *data(200, apart=0.0, seed=1000 + seed)).auc
        covered += auc.lower <= 0.5 <= auc.upper
    assert covered >= 89  # 95 % of 100, less three standard deviations


def test_the_trivial_detector_is_not_better_than_itself() -> None:
    features, _ = data()
    found = cross_validated(lambda: DummyClassifier(), features, (torch.arange(200) % 4 > 0), 5, 0)
    assert found.accuracy.value == 0.75
    assert (found.over_trivial.value, found.over_trivial.upper) == (0, 0)


def test_figures_are_scikit_learns() -> None:
    features, labels = data(apart=1.0)
    held, answers = data(apart=1.0, seed=1)
    found = detect(LogisticRegression().fit(features.numpy(), labels.numpy()), held, answers)
    assert found.accuracy.value == pytest.approx(float((found.predicted == answers.bool()).double().mean()))
    assert found.f1.value == pytest.approx(f1_score(answers, found.predicted))
    assert found.auc.value == pytest.approx(roc_auc_score(answers, found.score))
    plain = auroc(found.score[answers == 1], found.score[answers == 0])
    assert found.auc.lower == pytest.approx(plain.lower, abs=2e-3)
    assert found.auc.upper == pytest.approx(plain.upper, abs=2e-3)


def test_scores_of_different_folds_are_not_compared() -> None:
    labels = torch.tensor([0, 1] * 40).bool()
    fold = torch.arange(80) // 40
    score = labels.double() + 100 * fold  # right in each fold, and wrong by far between them
    found = Detection(labels, labels, score, fold)
    assert found.auc.value == pytest.approx(1)
    assert found.auc.lower < 1


def test_folds_with_one_label_have_no_area() -> None:
    labels = torch.tensor([True, True, False, False])
    found = Detection(labels, labels, torch.arange(4.0), torch.tensor([0, 0, 1, 1]))
    assert math.isnan(found.auc.value)
    assert (found.auc.lower, found.auc.upper) == (0, 1)


def test_repeated_entries_widen_nothing_and_narrow_nothing() -> None:
    features, labels = data(apart=1.0)
    detector = LogisticRegression().fit(features.numpy(), labels.numpy())
    held, answers = data(apart=1.0, seed=1)
    once = detect(detector, held, answers, torch.arange(200))
    thrice = detect(detector, held.repeat(3, 1), answers.repeat(3), torch.arange(200).repeat(3))
    for figure in ("accuracy", "f1", "auc", "over_trivial"):
        one, other = getattr(once, figure), getattr(thrice, figure)
        assert (one.value, one.lower, one.upper) == pytest.approx((other.value, other.lower, other.upper))


@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 30))
def test_f1_is_its_definition(tp: int, fp: int, fn: int) -> None:
    f1 = F1(Rate(tp, tp + fp + fn))
    if tp + fp + fn == 0:
        assert math.isnan(f1.value)
    else:
        assert f1.value == pytest.approx(2 * tp / (2 * tp + fp + fn))
        assert f1.lower <= f1.value <= f1.upper
    assert 0 <= f1.lower <= f1.upper <= 1


def test_f1s_interval_covers_the_true_score() -> None:
    generator = np.random.default_rng(0)
    covered = 0
    for _ in range(400):
        tp, fp, fn, _ = generator.multinomial(150, [0.4, 0.06, 0.09, 0.45])
        f1 = F1(Rate(int(tp), int(tp + fp + fn)))
        covered += f1.lower <= 0.8 / 0.95 <= f1.upper
    assert covered >= 366  # 95 % of 400, less three standard deviations


def test_more_images_narrow_f1() -> None:
    f1 = F1(Rate(40, 50))
    assert f1.at(5000).lower > f1.lower
    assert str(f1).startswith("0.889 (95% CI ")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": torch.zeros(20)}, r"the labels are \[0\]"),
        ({"labels": torch.arange(20) % 3}, r"the labels are \[0, 1, 2\]"),
        ({"labels": torch.zeros(19)}, "one label"),
        ({"groups": torch.zeros(19)}, "one group"),
        ({"groups": torch.arange(20) // 10}, "2 clean and 2 attacked"),
        ({"features": torch.full((20, 2), math.nan)}, "not finite"),
        ({"folds": 1}, "2 or more"),
        ({"folds": 11}, "10 clean and 10 attacked"),
    ],
)
def test_mistakes_are_named(change: dict, message: str) -> None:
    features, labels = data(20)
    arguments = {"features": features, "labels": labels, "folds": 5, "seed": 0, **change}
    with pytest.raises(SettingsError, match=message):
        cross_validated(svm, **arguments)
