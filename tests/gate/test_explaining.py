"""A result in words: its worst images, its parameters, and the line that gives it again."""

from __future__ import annotations

import copy
import json
import sys
from dataclasses import replace

import pytest
import torch

from pytest_robust import Bench, Robust, Settings
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


def pasted(line, monkeypatch, tmp_path, **names):
    """What an interpreter shows that has no cache of it."""
    shown = []
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other"))
    monkeypatch.setattr(sys, "displayhook", shown.append)
    exec(compile(line, "pasted", "single"), names)
    return shown[-1]


@pytest.mark.parametrize(
    ("attack", "given", "written"),
    [
        ("pgd", {"eps": "16/255", "steps": 10}, "norm='linf', eps=16/255, "),
        ("pgd", {"eps": 0.2, "steps": 3, "mean": torch.tensor([0.5])}, "mean=[0.5]"),
        ("pgd", {"eps": 0.2, "steps": 3}, "eps=0.2, "),
        ("pgd", {"eps": 0.5, "steps": 3, "norm": 2}, "norm='l2', eps=0.5, "),
        ("square", {"eps": "16/255", "steps": 5}, "p_init=0.8"),
        ("pgd", {"eps": 0.1, "steps": 3, "target": "most_likely"}, "target='most_likely'"),
        (None, {}, "evaluate(model, data, confidence=0.9)"),
    ],
)
def test_the_line_to_reproduce_does(robust, toy, images, tmp_path, monkeypatch, attack, given, written):
    model = toy.network.eval()
    result = robust.evaluate(model, images, attack, confidence=0.9, **given)
    assert written in result.reproduce
    again = pasted(result.reproduce, monkeypatch, tmp_path, model=model, data=images)
    assert again is not result
    assert str(again.accuracy) == str(result.accuracy)
    assert torch.equal(again.margins, result.margins)


@pytest.mark.filterwarnings("ignore")  # torch.jit's own, and that five images prove nothing
def test_the_line_to_reproduce_finds_what_was_named_from_another_folder(tmp_path, monkeypatch):
    project = tmp_path / "project"
    project.mkdir()
    torch.manual_seed(0)
    torch.jit.script(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3)).eval()).save(project / "m.pt")
    bench = Bench(Settings(cache=tmp_path / "cache", device="cpu"))
    data = torch.rand(5, 1, 8, 8), torch.zeros(5, dtype=torch.int64)
    monkeypatch.chdir(tmp_path)
    result = Robust(bench, root=project).evaluate("m.pt", data)
    assert "root='project'" in result.reproduce
    assert torch.equal(pasted(result.reproduce, monkeypatch, tmp_path, data=data).margins, result.margins)


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


@pytest.mark.parametrize(
    ("name", "meant"),
    [("robust_accuracy", "accuracy"), ("success_rate", "attack_success_rate"), ("cleanaccuracy", "clean_accuracy")],
)
def test_a_name_that_a_result_has_not_is_told_with_the_one_that_is_meant(robust, toy, images, name, meant):
    result = robust.evaluate(toy, images)
    with pytest.raises(AttributeError, match=rf"^a result has no '{name}'; did you mean result\.{meant}\?$"):
        getattr(result, name)
    assert not hasattr(result, "xyz")
    assert copy.copy(result).accuracy == result.accuracy


def test_an_error_inside_an_attribute_of_a_result_stays_what_it_is(robust, toy, images):
    def told(result, looked_at):
        raise AttributeError("inside")

    with pytest.raises(AttributeError, match=r"^inside$"):
        _ = replace(robust.evaluate(toy, images), told=told).accuracy
