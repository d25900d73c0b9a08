"""A result in words: its worst images, its parameters, and the line that gives it again."""

from __future__ import annotations

import json

import pytest
import torch

from pytest_robust import Bench, Robust
from pytest_robust.bench.settings import Settings
from pytest_robust.gate.result import SHOWN

BUDGET = 16 / 255


def test_the_worst_images_are_those_with_the_smallest_margin(robust, toy, images):
    result = robust.evaluate(toy, images, "pgd", eps=BUDGET)
    margins = []
    for x, y in zip(result.adversarial.x, images.y, strict=True):
        logits = toy(x[None])[0].tolist()
        own = logits.pop(int(y))
        margins.append(own - max(logits))
    slow = sorted(range(len(images)), key=lambda i: margins[i])
    assert result.worst(10) == slow[:10]
    assert not bool(result.correct[result.worst(1)].any())
    assert len(result.worst(10_000)) == len(images)


def test_without_a_budget_the_worst_images_are_those_with_the_smallest_perturbation(robust, toy, images):
    result = robust.evaluate(toy, images, "deepfool")
    order = result.norms["l2"].argsort(stable=True).tolist()
    assert bool(result.clean.correct.all())
    assert not bool(result.correct.any())
    assert result.worst(5) == order[:5]


def test_indices_are_positions_in_the_users_data(robust, toy, images):
    labels = images.y.clone()
    labels[7] = (labels[7] + 1) % 4
    assert robust.evaluate(toy, (images.x, labels)).worst(1) == [7]


def test_the_explanation_holds_all_that_a_failed_build_needs(robust, toy, images):
    result = robust.evaluate(toy, images, "pgd", eps="16/255", steps=10)
    text = result.explain()
    rate = result.accuracy
    for needed in (
        f"robust accuracy: {rate.value:.3f} ({rate.k}/48, 95% CI {rate.lower:.3f}–{rate.upper:.3f})",
        f"pgd(norm='inf', eps={16 / 255}, eps_step=",
        "max_iter=10, num_random_init=1)",
        "seed: 0, device: cpu",
        f"worst images: {', '.join(map(str, result.worst(10)))}",
        f"to reproduce: {result.reproduce}",
    ):
        assert needed in text
    assert str(result) == text


def test_the_line_to_reproduce_does(robust, toy, images, tmp_path):
    result = robust.evaluate(toy, images, "pgd", eps="16/255", steps=10, confidence=0.9)
    assert "eps=16/255" in result.reproduce
    line = result.reproduce.replace("device='cpu'", f"device='cpu', cache={str(tmp_path / 'other')!r}")
    names = {"Robust": Robust, "Bench": Bench, "Settings": Settings, "model": toy, "data": images}
    again = eval(line, names)
    assert torch.equal(again.adversarial.x, result.adversarial.x)
    assert str(again.accuracy) == str(result.accuracy)


@pytest.mark.parametrize("attack", [None, "pgd", "cw_l2", "smallest_budget"])
def test_its_repr_is_short_enough_for_pytest_to_show_it_whole(robust, toy, images, attack):
    result = robust.evaluate(toy, images.subset([0, 1, 2, 3, 4, 5, 6, 7]), attack)
    assert len(repr(result)) <= SHOWN
    assert str(result.accuracy) in repr(result)


def test_as_dict_is_plain_data(robust, toy, images):
    found = json.loads(json.dumps(robust.evaluate(toy, images, "pgd", eps=BUDGET).as_dict()))
    assert found["attack"] == "pgd"
    assert found["parameters"]["eps"] == BUDGET
    assert found["accuracy"]["n"] == len(images)
    assert found["checks"] == []
