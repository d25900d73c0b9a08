"""The worst images are those that the user handed in, with what the model says of them before and after the attack."""

from __future__ import annotations

import pytest
import torch

from pytest_robust.attacks.adversarial_set import AdversarialSet
from pytest_robust.gate.worst import WorstImages, worst_first, worst_images
from pytest_robust.threats.decision import Decision


def test_worst_images_are_the_users_with_the_models_answers(robust, toy, images):
    result = robust.evaluate(toy, images, "pgd", 0.1)
    shown = result.worst_images(7)
    index = torch.tensor(result.worst(7))
    assert shown.index == index.tolist()
    assert torch.equal(shown.clean, images.x[index])
    assert torch.equal(shown.y, images.y[index])
    assert torch.equal(shown.answers.label, toy.predict(images.x)[index])
    assert isinstance(result.adversarial, AdversarialSet)
    assert torch.equal(shown.attacked, result.adversarial.x[index])
    assert torch.equal(shown.attacked_answers.label, toy.predict(result.adversarial.x)[index])


def test_parts_in_any_order_show_the_same_images_as_the_whole(robust, toy, images):
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    parts = [robust.evaluate(toy, images.subset(index)) for index in order.split(20)]
    worst = [5, 40, 0, 17]
    whole = worst_images([robust.evaluate(toy, images)], torch.arange(len(images)), worst)
    shown = worst_images(parts, order, worst)
    assert torch.equal(shown.clean, whole.clean)
    assert torch.equal(shown.clean, images.x[torch.tensor(worst)])
    assert shown.captions == whole.captions
    assert shown.attacked is None


def test_captions_say_where_an_image_is_and_how_the_answer_changed():
    before = Decision(torch.tensor([3, 1]), torch.tensor([False, False]), torch.zeros(2))
    after = Decision(torch.tensor([8, 1]), torch.tensor([False, True]), torch.zeros(2))
    x, y = torch.zeros(2, 1, 4, 4), torch.tensor([3, 2])
    assert WorstImages([12, 0], y, x, before, x, after).captions == ["#12, is 3: 3 → 8", "#0, is 2: 1 → rejected"]
    assert WorstImages([12, 0], y, x, before).captions == ["#12, is 3: 3", "#0, is 2: 1"]


@pytest.mark.parametrize(("attack", "eps"), [("pgd", 0.06), ("deepfool", None)])
def test_victims_of_the_attack_come_before_what_was_wrong_anyway(robust, toy, images, attack, eps):
    labels = images.y.clone()
    labels[:12] = (labels[:12] + 1) % 4
    result = robust.evaluate(toy, (images.x, labels), attack, eps)
    order, taken = result.worst(len(images)), result.clean.correct & ~result.correct
    victims = int(taken.sum())
    assert victims > 0
    assert bool(taken[order[:victims]].all())
    assert sorted(order[victims : victims + 12]) == list(range(12)), "the mislabelled images"
    assert bool(result.correct[order[victims + 12 :]].all())
    key = result.margins if eps else result.norms["l2"]
    for part in (order[:victims], order[victims + 12 :]):
        assert key[part].tolist() == sorted(key[part].tolist())
    assert result.worst_images(1).captions[0].startswith(f"#{order[0]}, is {labels[order[0]]}: {labels[order[0]]} → ")


def test_parts_have_the_same_order_as_the_whole(robust, toy, images):
    labels = images.y.clone()
    labels[:12] = (labels[:12] + 1) % 4
    whole = robust.evaluate(toy, (images.x, labels), "fgsm", 0.06)
    parts = [robust.evaluate(toy, (images.x[i], labels[i]), "fgsm", 0.06) for i in torch.arange(len(images)).split(24)]
    assert worst_first(parts).tolist() == whole.worst(len(images))
