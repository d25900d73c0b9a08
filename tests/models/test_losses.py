"""Training losses: what they minimise, by slow obvious references, and that a recipe tells two apart."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pytest_robust.data.split import Split
from pytest_robust.errors import ModelError, SettingsError
from pytest_robust.models.adversarial_mix import AdversarialMix
from pytest_robust.models.classifier import Classifier
from pytest_robust.models.losses import Batch, CrossEntropy
from pytest_robust.models.recipe import Recipe
from pytest_robust.models.reconstruction import Reconstruction
from pytest_robust.models.soft_labels import HotCrossEntropy, SoftLabels
from pytest_robust.models.training import train
from pytest_robust.registry import Registry

SHAPE = (1, 3, 3)


def linear(seed: int = 0, classes: int = 4) -> Classifier:
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Flatten(), nn.Linear(9, classes))
    return Classifier(network, num_classes=classes, input_shape=SHAPE)


def batch(seed: int = 0, n: int = 12, companion: Tensor | None = None) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    return Batch(torch.rand(n, *SHAPE, generator=generator), torch.randint(0, 4, (n,), generator=generator), companion)


def test_cross_entropy_is_torchs_and_counts_right_answers() -> None:
    classifier, given = linear(), batch()
    loss, right = CrossEntropy()(classifier, given)
    logits = classifier(given.x)
    assert torch.equal(loss, F.cross_entropy(logits, given.y))
    assert int(right) == sum(int(row.argmax()) == int(y) for row, y in zip(logits, given.y, strict=True))


def test_soft_labels_are_the_teachers_at_the_temperature() -> None:
    student, teacher = linear(0), linear(1)
    given = batch()
    loss, _ = SoftLabels(5.0)(student, given._replace(companion=teacher(given.x).detach()))
    expected = torch.zeros(())
    for image in given.x:
        target = torch.softmax(teacher(image[None])[0] / 5.0, 0)
        answer = torch.softmax(student(image[None])[0] / 5.0, 0)
        expected = expected - (target * answer.log()).sum() / len(given.x)
    torch.testing.assert_close(loss, expected)


def test_soft_labels_at_the_teachers_own_answers_have_no_gradient() -> None:
    teacher = linear()
    given = batch()
    loss, _ = SoftLabels(3.0)(teacher, given._replace(companion=teacher(given.x).detach()))
    gradients = torch.autograd.grad(loss, list(teacher.parameters()))
    assert all(float(gradient.abs().max()) < 1e-6 for gradient in gradients)


def test_a_hot_teacher_is_trained_on_divided_logits() -> None:
    classifier, given = linear(), batch()
    loss, _ = HotCrossEntropy(10.0)(classifier, given)
    torch.testing.assert_close(loss, F.cross_entropy(classifier(given.x) / 10, given.y))


def test_fgsm_mixing_is_half_clean_and_half_one_step_of_the_whole_budget() -> None:
    classifier, given = linear(), batch()
    loss, _ = AdversarialMix(eps=0.2, eps_step=0.2)(classifier, given)
    images = given.x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(F.cross_entropy(classifier(images), given.y), images)
    perturbed = (given.x + 0.2 * gradient.sign()).clamp(0, 1)
    expected = 0.5 * F.cross_entropy(classifier(given.x), given.y) + 0.5 * F.cross_entropy(
        classifier(perturbed), given.y
    )
    torch.testing.assert_close(loss, expected)


def test_pgd_training_stays_in_the_ball_and_raises_the_loss() -> None:
    classifier, given = linear(), batch()
    mix = AdversarialMix(eps=0.1, eps_step=0.03, max_iter=10, random_start=True, share=1.0)
    perturbed = mix._perturbed(classifier, given.x, given.y)
    assert float((perturbed - given.x).abs().max()) <= 0.1 + 1e-6
    assert float(perturbed.min()) >= 0
    assert float(perturbed.max()) <= 1
    clean, _ = CrossEntropy()(classifier, given)
    torch.manual_seed(3)
    adversarial, _ = mix(classifier, given)
    assert float(adversarial.detach()) > float(clean.detach())


def test_a_loss_without_its_companion_says_what_is_missing() -> None:
    with pytest.raises(SettingsError, match="teacher's logits"):
        SoftLabels(2.0)(linear(), batch())
    with pytest.raises(SettingsError, match="images to reach"):
        Reconstruction()(linear(), batch())


class Same(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale


def recipe_on(split: Split, **changes: object) -> Recipe:
    plain = Recipe("net", (split,), epochs=60, learning_rate=0.1, batch_size=8, precision="float32")
    return replace(plain, **changes)  # type: ignore[arg-type]


def registry(factory: object) -> Registry[object]:
    names: Registry[object] = Registry("architecture")
    names.register("net", factory)
    return names


def test_an_image_to_image_network_learns_to_give_the_companion_images() -> None:
    split = Split(torch.rand(40, *SHAPE, generator=torch.Generator().manual_seed(0)), torch.zeros(40).long(), 4)
    recipe = recipe_on(split, loss=Reconstruction(), companion=split.x * 0.5, weight_decay=0.0)
    trained = train(recipe, torch.device("cpu"), registry(lambda _n, _shape: Same()))
    assert float(trained.network.scale) == pytest.approx(0.5, abs=1e-3)


def test_a_network_must_give_what_its_loss_trains() -> None:
    split = Split(torch.rand(8, *SHAPE), torch.zeros(8).long(), 4)
    with pytest.raises(ModelError, match=r"\(2, 4\) is expected: one logit per class"):
        train(recipe_on(split), torch.device("cpu"), registry(lambda _n, _shape: Same()))
    with pytest.raises(ModelError, match=r"an image for each"):
        train(
            recipe_on(split, loss=Reconstruction(), companion=split.x),
            torch.device("cpu"),
            registry(lambda _n, _shape: linear().network),
        )


def test_companion_rows_follow_their_images_through_the_shuffle() -> None:
    """Soft labels that say the opposite of the labels: what is learned are the soft ones."""
    generator = torch.Generator().manual_seed(0)
    y = torch.randint(0, 2, (200,), generator=generator)
    x = torch.zeros(200, *SHAPE)
    x[:, 0, 0, 0] = y.float()
    split = Split(x, y, 2)
    opposite = F.one_hot(1 - y, 2).float() * 20
    recipe = recipe_on(split, loss=SoftLabels(1.0), companion=opposite, epochs=30)
    trained = train(recipe, torch.device("cpu"), registry(lambda _n, _shape: linear(classes=2).network))
    assert bool((trained.predict(x) == 1 - y).all())


def test_a_companion_of_another_length_is_refused() -> None:
    split = Split(torch.rand(8, *SHAPE), torch.zeros(8).long(), 4)
    with pytest.raises(SettingsError, match="7 companion rows for 8 training images"):
        recipe_on(split, companion=torch.zeros(7, 4))


def test_loss_parameters_and_companion_change_the_settings() -> None:
    split = Split(torch.rand(8, *SHAPE), torch.zeros(8).long(), 4)
    rows = torch.zeros(8, 4)
    variants = [
        recipe_on(split),
        recipe_on(split, loss=SoftLabels(2.0), companion=rows),
        recipe_on(split, loss=SoftLabels(3.0), companion=rows),
        recipe_on(split, loss=SoftLabels(3.0), companion=rows + 1),
    ]
    assert len({str(recipe.settings) for recipe in variants}) == len(variants)
