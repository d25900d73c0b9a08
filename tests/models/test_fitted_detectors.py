"""Detectors: kept as features and labels, fitted again the same, and refused where they cannot be right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from pytest_robust.errors import SettingsError
from pytest_robust.models.detectors import DETECTORS, Detector, detector_factory, load_or_fit
from pytest_robust.store.artifacts import ArtifactStore


def overlapping(n: int = 200, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Answers of two networks, (n, 20), that mostly agree on clean images and mostly do not on attacked ones."""
    g = torch.Generator().manual_seed(seed)
    attacked = torch.rand(n, generator=g) < 0.5
    logits = torch.randn(n, 2, 10, generator=g)
    label = torch.randint(0, 10, (n,), generator=g)
    other = torch.where(attacked, (label + 1) % 10, label)
    logits[torch.arange(n), 0, label] += 3
    logits[torch.arange(n), 1, other] += 3
    return logits.softmax(2).flatten(1), attacked


def own_factory() -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression()


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path)


def never() -> tuple[Tensor, Tensor]:
    raise AssertionError("the store has it")


@pytest.mark.parametrize("name", [*DETECTORS, f"{__name__}:own_factory"])
def test_a_kept_detector_answers_as_the_one_that_was_kept(store: ArtifactStore, name: str) -> None:
    features, attacked = overlapping()
    asked, _ = overlapping(seed=1)
    first, built = load_or_fit(name, store, ["cause"], lambda: (features, attacked))
    second, again = load_or_fit(name, store, ["cause"], never)
    assert (built, again) == (True, False)
    assert torch.equal(first.score(asked), second.score(asked))
    assert first.fingerprint == second.fingerprint


@pytest.mark.parametrize("name", DETECTORS)
def test_a_score_above_zero_is_scikit_learns_own_answer(name: str) -> None:
    detector = Detector(name, *overlapping())
    asked, _ = overlapping(300, seed=2)
    own = torch.from_numpy(detector.fitted.predict(asked.double().numpy())).bool()
    assert torch.equal(detector.score(asked) > 0, own)
    assert 0 < int(own.sum()) < 300


def test_nothing_is_kept_but_arrays(store: ArtifactStore, tmp_path: Path) -> None:
    load_or_fit("knn", store, ["cause"], overlapping)
    files = [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".lock"]
    assert [path.suffix for path in files] == [".safetensors"]


def test_other_causes_are_another_detector(store: ArtifactStore) -> None:
    load_or_fit("knn", store, ["cause"], overlapping)
    _, built = load_or_fit("knn", store, ["another"], lambda: overlapping(seed=3))
    assert built


def test_a_detector_answers_no_images() -> None:
    assert Detector("knn", *overlapping()).score(torch.zeros(0, 20)).shape == (0,)


@pytest.mark.parametrize("name", ["svn", "sklearn.nothing:here", "math:pi", ":svm"])
def test_an_unknown_factory_is_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(SettingsError, match=r"svm, random_forest, knn.*module:factory"):
        detector_factory(name)


def test_one_label_is_refused_with_what_to_do() -> None:
    features, _ = overlapping()
    with pytest.raises(SettingsError, match="of 200 0 are attacked: choose an attack"):
        Detector("svm", features, torch.zeros(200, dtype=torch.bool))


def test_features_that_cannot_be_right_are_refused() -> None:
    features, attacked = overlapping()
    with pytest.raises(SettingsError, match="not finite"):
        Detector("svm", features / 0, attacked)
    with pytest.raises(SettingsError, match="N labels"):
        Detector("svm", features, attacked[1:])
