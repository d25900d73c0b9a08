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
from pytest_robust.evaluation.detectors import F1, Detection, cross_fitted, folds_of
from pytest_robust.evaluation.rate import Rate
from pytest_robust.evaluation.verdict import Verdict, above


def svm():
    return make_pipeline(MinMaxScaler(), SVC(C=100, gamma=0.1))


def fitted(factory):
    """scikit-learn's classifiers as `cross_fitted` takes them; their probability minus a half where they have one."""

    def fit(rows, attacked):
        detector = factory().fit(rows.numpy(), attacked.numpy())
        if hasattr(detector, "decision_function"):
            return lambda asked: torch.from_numpy(detector.decision_function(asked.numpy()))
        return lambda asked: torch.from_numpy(detector.predict_proba(asked.numpy())[:, 1] - 0.5)

    return fit


def cross_validated(factory, features, labels, folds: int, seed: int) -> Detection:
    fold = folds_of(len(labels), folds, seed)
    score = cross_fitted(fitted(factory), {"it": features}, {"it": labels.bool()}, fold)["it", "it"]
    return Detection(labels.bool(), score > 0, score, fold)


def asked(detector, features, labels, groups=None) -> Detection:
    score = torch.from_numpy(detector.decision_function(features.numpy()))
    return Detection(labels.bool(), score > 0, score, torch.zeros(len(labels), dtype=torch.int64), groups)


def data(n: int = 200, apart: float = 2.0, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    labels = torch.arange(n) % 2
    return torch.randn(n, 4, generator=torch.Generator().manual_seed(seed)) + apart * labels[:, None], labels


def nearest_centre(rows: torch.Tensor, attacked: torch.Tensor):
    clean, other = rows[~attacked].mean(0), rows[attacked].mean(0)
    return lambda asked: (asked - clean).norm(dim=1) - (asked - other).norm(dim=1)


def test_every_answer_is_on_an_image_that_was_not_trained_on() -> None:
    features, labels = data()
    rows = {"one": features, "other": features + 10}
    log: list[torch.Tensor] = []

    def fit(trained: torch.Tensor, _: torch.Tensor):
        known = {tuple(row.tolist()) for row in trained}
        log.append(trained)
        return lambda asked: torch.tensor([tuple(row.tolist()) in known for row in asked]).float()

    found = cross_fitted(fit, rows, dict.fromkeys(rows, labels.bool()), folds_of(200, 5, 0))
    assert [len(trained) for trained in log] == [160] * 10
    assert not any(score.any() for score in found.values())


def test_scores_are_those_of_a_loop_over_images() -> None:
    generator = torch.Generator().manual_seed(0)
    features = {name: torch.randn(23, 3, generator=generator) + shift for name, shift in (("a", 0.0), ("b", 0.5))}
    attacked = {name: torch.rand(23, generator=generator) > 0.5 for name in features}
    fold = folds_of(23, 4, 1)
    found = cross_fitted(nearest_centre, features, attacked, fold)
    for (trained, tested), score in found.items():
        for i in range(23):
            others = fold != fold[i]
            alone = nearest_centre(features[trained][others], attacked[trained][others])
            assert float(score[i]) == pytest.approx(float(alone(features[tested][i : i + 1])), abs=1e-5)


@given(n=st.integers(2, 60), folds=st.integers(2, 10), seed=st.integers(0, 5))
def test_folds_differ_by_one_image_at_most_and_follow_the_seed(n: int, folds: int, seed: int) -> None:
    fold = folds_of(n, folds, seed)
    sizes = fold.bincount(minlength=min(n, folds))
    assert int(sizes.max() - sizes.min()) <= 1
    assert torch.equal(fold, folds_of(n, folds, seed))


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
        auc = asked(detector, *data(200, apart=0.0, seed=1000 + seed)).auc
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
    found = asked(LogisticRegression().fit(features.numpy(), labels.numpy()), held, answers)
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
    once = asked(detector, held, answers, torch.arange(200))
    thrice = asked(detector, held.repeat(3, 1), answers.repeat(3), torch.arange(200).repeat(3))
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
    ("features", "labels", "folds", "message"),
    [
        (torch.zeros(19, 2), torch.zeros(20), 5, "'it' has 19 rows and 20 labels, but 20 images"),
        (torch.zeros(20, 2), torch.zeros(19), 5, "'it' has 20 rows and 19 labels, but 20 images"),
        (torch.zeros(20, 2), torch.zeros(20), 1, "one fold leaves nothing"),
    ],
)
def test_mistakes_are_named(features: torch.Tensor, labels: torch.Tensor, folds: int, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        cross_fitted(nearest_centre, {"it": features}, {"it": labels.bool()}, folds_of(20, folds, 0))
