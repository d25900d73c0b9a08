"""An Evaluation adds up: Acc + Rej + Err is one, and its parts agree with a slow count."""

from __future__ import annotations

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pytest_robust.errors import SettingsError
from pytest_robust.evaluation.evaluation import Evaluation, worst_case
from pytest_robust.evaluation.features import ClassGeometry
from pytest_robust.threats.decision import Decision


def evaluation(seed: int, n: int = 50) -> Evaluation:
    g = torch.Generator().manual_seed(seed)
    decision = Decision(
        torch.randint(0, 4, (n,), generator=g), torch.rand(n, generator=g) < 0.3, torch.rand(n, generator=g)
    )
    return Evaluation("d", torch.randint(0, 4, (n,), generator=g), decision, torch.rand(n, generator=g) < 0.6)


@given(st.integers(0, 2**31))
def test_accuracy_rejection_and_error_add_up(seed: int) -> None:
    e = evaluation(seed)
    assert e.accuracy.k + e.rejection.k + e.error.k == e.error.n == len(e)
    slow = sum(
        int(label != y and not rejected)
        for label, y, rejected in zip(e.decision.label, e.y, e.decision.rejected, strict=True)
    )
    assert e.error.k == slow


@given(st.integers(0, 2**31))
def test_only_successes_are_those_that_fooled_the_surface(seed: int) -> None:
    e = evaluation(seed)
    assert e.success is not None
    assert e.on_successes.error.n == int(e.success.sum())
    assert e.on_successes.error.k == int((e.wrong & e.success).sum())


@given(st.permutations(range(20)))
def test_order_of_images_does_not_matter(order: list[int]) -> None:
    e = evaluation(3, 20)
    d = Decision(e.decision.label[order], e.decision.rejected[order], e.decision.score[order])
    shuffled = Evaluation("d", e.y[order], d)
    assert (shuffled.accuracy.k, shuffled.error.k) == (e.accuracy.k, e.error.k)


def test_worst_case_is_per_image() -> None:
    a, b = evaluation(1), evaluation(2)
    assert int(worst_case([a, b]).sum()) >= max(a.error.k, b.error.k)


def test_plain_data_is_json_also_without_images() -> None:
    empty = evaluation(0, 0)
    json.dumps(empty.as_dict(), allow_nan=False)
    assert empty.as_dict()["accuracy"]["value"] is None


def test_relative_distance_by_hand() -> None:
    features = torch.tensor([[0.0, 1.0], [0.0, -1.0], [10.0, 2.0], [10.0, -2.0]])
    geometry = ClassGeometry.of(features, torch.tensor([0, 0, 1, 1]))
    assert geometry.distance(torch.tensor([[0.0, 3.0], [10.0, 3.0], [9.0, 0.0]])).tolist() == pytest.approx(
        [3, 1.5, 0.5]
    )


def test_a_class_of_one_has_no_spread() -> None:
    with pytest.raises(SettingsError, match="no spread"):
        ClassGeometry.of(torch.zeros(3, 2), torch.tensor([0, 0, 1]))


def scored(y: list[int], score: list[float], image: list[int] | None = None) -> Evaluation:
    label = torch.tensor(y)
    decision = Decision(label, torch.zeros(len(y), dtype=torch.bool), torch.tensor(score))
    return Evaluation("d", label, decision, image=None if image is None else torch.tensor(image))


def test_adversaries_that_share_an_original_do_not_narrow_the_auroc() -> None:
    labels, scores = [0, 1, 2, 3] * 2, [0.5, 0.7, 0.25, 0.9, 0.45, 0.8, 0.35, 0.15]
    clean = scored(labels, [0.1, 0.2, 0.6, 0.3, 0.05, 0.4, 0.55, 0.12])
    once = scored(labels, scores).auroc_against(clean)
    ten = scored(labels * 10, scores * 10, list(range(8)) * 10).auroc_against(clean)
    ignored = scored(labels * 10, scores * 10).auroc_against(clean)
    assert ten.value == pytest.approx(once.value)
    assert ten.upper - ten.lower > ignored.upper - ignored.lower


@pytest.mark.parametrize("y", [[0, 1, 2], [0, 1, 3, 2]])
def test_shared_originals_have_to_be_the_clean_images(y: list[int]) -> None:
    adversaries = scored([0, 1, 2, 3], [0.5] * 4, [0, 1, 2, 3])
    with pytest.raises(SettingsError, match="evaluate the originals that were attacked, in order"):
        adversaries.auroc_against(scored(y, [0.1] * len(y)))
