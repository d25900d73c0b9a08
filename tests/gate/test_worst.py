"""The worst images are those that the user handed in, with what the model says of them before and after the attack."""

from __future__ import annotations

import torch

from pytest_robust.attacks.adversarial_set import AdversarialSet
from pytest_robust.gate.worst import WorstImages, worst_images
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
