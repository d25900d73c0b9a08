"""Silhouettes of feature spaces: the slow definition, and which of two spaces separates better."""

from __future__ import annotations

import pytest
import torch

from pytest_robust.errors import SettingsError
from pytest_robust.evaluation import silhouette as module
from pytest_robust.evaluation.silhouette import silhouette, silhouette_difference
from pytest_robust.evaluation.verdict import Verdict, above


def clouds(n: int, apart: float, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    labels = torch.arange(n) % 2
    return torch.randn(n, 3, generator=torch.Generator().manual_seed(seed)) + apart * labels[:, None], labels


def slow(points: torch.Tensor, labels: torch.Tensor) -> float:
    scores = []
    for i in range(len(points)):
        distance = (points - points[i]).norm(dim=1)
        own = (labels == labels[i]) & (torch.arange(len(points)) != i)
        a = distance[own].mean()
        b = min(distance[labels == other].mean() for other in labels.unique() if other != labels[i])
        scores.append((b - a) / max(a, b))
    return float(torch.stack(scores).mean())


def test_is_rousseeuws() -> None:
    points, labels = clouds(30, 1.0)
    assert silhouette(points, labels, seed=0).value == pytest.approx(slow(points.double(), labels))


def test_finds_the_space_that_separates() -> None:
    (near, labels), (far, _) = clouds(120, 0.3), clouds(120, 3.0, seed=1)
    assert above(silhouette_difference(far, near, labels.bool(), 0), 0).verdict is Verdict.HOLDS
    assert above(silhouette_difference(near, far, labels.bool(), 0), 0).verdict is Verdict.FAILS


def test_interval_covers_the_mean_over_repetitions() -> None:
    """What a t interval on the points' own silhouettes does in only three cases of four."""
    differences = []
    for seed in range(50):
        (one, labels), (other, _) = clouds(60, 1.0, 2 * seed), clouds(60, 0.5, 2 * seed + 1)
        differences.append(silhouette_difference(one, other, labels, seed))
    truth = sum(d.value for d in differences) / len(differences)
    covered = sum(d.lower <= truth <= d.upper for d in differences)
    assert covered >= 43  # 95 % of 50, less three standard deviations


def test_scale_and_dimension_do_not_count() -> None:
    points, labels = clouds(60, 1.0)
    padded = torch.cat([points, torch.zeros(60, 5)], 1).view(60, 2, 4) * 7
    difference = silhouette_difference(points, padded, labels, 0)
    assert (difference.lower, difference.upper) == (pytest.approx(0, abs=1e-6), pytest.approx(0, abs=1e-6))


def test_many_points_are_sampled_by_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_POINTS", 200)
    points, labels = clouds(250, 1.0)
    first = silhouette(points, labels, seed=1)
    assert first.n == 200
    assert first == silhouette(points, labels, seed=1)
    assert first.value != silhouette(points, labels, seed=2).value


def test_shared_originals_count_once() -> None:
    points, labels = clouds(100, 1.0)
    assert silhouette(points, labels, 0, image=torch.arange(100) // 2).n == 50


@pytest.mark.parametrize(
    ("points", "labels", "message"),
    [
        (torch.rand(5, 2), torch.zeros(5), "5 points are in 1 groups"),
        (torch.rand(5, 2), torch.arange(5), "5 points are in 5 groups"),
        (torch.rand(5, 2), torch.zeros(4), "not 4 for 5"),
        (torch.full((4, 2), torch.inf), torch.tensor([0, 0, 1, 1]), "not finite"),
    ],
)
def test_mistakes_are_named(points, labels, message) -> None:
    with pytest.raises(SettingsError, match=message):
        silhouette(points, labels, 0)
