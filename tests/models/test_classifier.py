"""The Classifier: logits with the normalisation inside, features, and an error for what is not a classifier."""

from __future__ import annotations

from copy import deepcopy as copy_of

import pytest
import torch
from torch import Tensor, nn

from pytest_robust.errors import ModelError
from pytest_robust.models import classifier as classifier_module
from pytest_robust.models.classifier import Classifier
from pytest_robust.models.convnets import mlp, small_cnn

SHAPE = (1, 4, 4)


def classifier(network: nn.Module | None = None, **settings: object) -> Classifier:
    torch.manual_seed(0)
    chosen = network if network is not None else mlp(3, SHAPE)
    return Classifier(chosen, **{"num_classes": 3, "input_shape": SHAPE, **settings})


class Gives(nn.Module):
    """A network with a fixed answer."""

    def __init__(self, row: list[float]) -> None:
        super().__init__()
        self.row = row

    def forward(self, x: Tensor) -> Tensor:
        return torch.tensor([self.row] * len(x))


def test_the_normalisation_is_inside() -> None:
    x = torch.rand(5, *SHAPE)
    mean, std = torch.rand(SHAPE), torch.rand(1, 1, 1) + 0.5
    inside = classifier(mean=mean, std=std)
    assert torch.equal(inside(x), inside.network((x - mean) / std))
    plain = classifier()
    assert torch.equal(plain(x), plain.network(x))


class InPlace(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = mlp(3, SHAPE)

    def forward(self, x: Tensor) -> Tensor:
        x.mul_(3).round_()
        return self.inner(x)


def test_a_network_that_works_in_place_leaves_the_images_alone() -> None:
    model, x = classifier(InPlace()), torch.rand(5, *SHAPE)
    before = x.clone()
    assert torch.equal(model.logits_of(x), model.network.inner((before * 3).round()))
    model.features_of(x)
    assert torch.equal(x, before)


def test_a_network_that_works_in_place_has_a_gradient() -> None:
    x = torch.rand(5, *SHAPE).requires_grad_()
    assert torch.autograd.grad(classifier(InPlace())(x).sum(), x)[0].shape == x.shape


def test_features_are_the_input_of_the_last_linear_layer() -> None:
    model = classifier(small_cnn(3, SHAPE))
    x = torch.rand(6, *SHAPE)
    features = model.features(x)
    assert features.shape == (6, 128)
    assert torch.equal(model.network[-1](features), model(x))
    assert torch.equal(model.features_of(x), features)


def test_a_network_without_linear_layer_has_no_features() -> None:
    model = classifier(nn.Sequential(nn.Conv2d(1, 3, 4), nn.Flatten()))
    assert model(torch.rand(2, *SHAPE)).shape == (2, 3)
    with pytest.raises(ModelError, match="no linear layer"):
        model.features(torch.rand(2, *SHAPE))


@pytest.mark.parametrize("batch_size", [1, 3, 7, 100])
def test_batches_do_not_show(batch_size: int) -> None:
    model, x = classifier(), torch.rand(7, *SHAPE)
    assert torch.allclose(model.logits_of(x, batch_size), model(x), atol=1e-6)
    assert torch.equal(model.predict(x, batch_size), model(x).argmax(1))


def test_no_images_give_no_answers_of_the_right_width() -> None:
    model, none = classifier(), torch.empty(0, *SHAPE)
    assert model.logits_of(none).shape == (0, 3)
    assert model.features_of(none).shape == (0, 128)
    assert model.predict(none).shape == (0,)


def test_many_images_need_no_gradient() -> None:
    x = torch.rand(2, *SHAPE, requires_grad=True)
    assert not classifier().logits_of(x).requires_grad
    assert classifier()(x).requires_grad


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ([0.2, 0.3, 0.5], "probabilities"),
        ([1.0, 0.0, 0.0], "probabilities"),
        ([1.0, float("nan"), 0.0], "NaN or infinite logits for 4 of 4"),
        ([1.0, float("inf"), 0.0], "NaN or infinite"),
        ([1.0, 2.0], r"shape \(4, 2\) for 4 images, but \(4, 3\)"),
    ],
)
def test_what_is_not_logits_is_an_error(row: list[float], reason: str) -> None:
    with pytest.raises(ModelError, match=reason) as caught:
        classifier(Gives(row), name="mine").predict(torch.rand(4, *SHAPE))
    assert str(caught.value).startswith("mine gives")


@pytest.mark.parametrize("row", [[0.2, 0.3, 0.6], [-1.0, 1.0, 1.0], [-0.2, -1.8, -5.0], [0.0, 0.0, 0.0]])
def test_logits_that_only_look_a_little_like_probabilities_pass(row: list[float]) -> None:
    assert classifier(Gives(row)).predict(torch.rand(2, *SHAPE)).shape == (2,)


def test_one_fingerprint_per_behaviour() -> None:
    """Everything that changes the answers changes the fingerprint; where the weights lie does not."""
    base = classifier()
    other_weights = classifier()
    with torch.no_grad():
        other_weights.network[1].bias[0] += 1e-6
    different = [
        other_weights,
        classifier(mean=0.5),
        classifier(std=0.5),
        classifier(nn.Sequential(*classifier().network, nn.LogSoftmax(1))),
        classifier(nn.Sequential(*classifier().network, nn.Softmax(1))),
        classifier(nn.Sequential(*classifier().network, nn.Softmax(0))),
    ]
    assert len({model.fingerprint for model in [base, *different]}) == 7
    same = [classifier(), classifier(name="another name"), classifier().to(memory_format=torch.channels_last)]
    assert {model.fingerprint for model in same} == {base.fingerprint}


def test_a_changed_model_has_another_fingerprint_also_when_it_was_asked_before() -> None:
    model = classifier()
    before = model.fingerprint
    copy = copy_of(model)
    assert copy.fingerprint == before
    with torch.no_grad():
        copy.network[1].weight.add_(1e-3)
    assert copy.fingerprint != before == model.fingerprint
    copy.load_state_dict(model.state_dict())
    assert copy.fingerprint == before
    copy.network[1].weight.data.add_(1e-3)  # torch keeps no version of what is written this way
    assert copy.fingerprint != before
    model.network[2] = nn.Tanh()
    assert model.fingerprint != before


def test_an_unchanged_model_is_hashed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model = classifier()
    before = model.fingerprint
    model.predict(torch.rand(4, *SHAPE))
    monkeypatch.setattr(classifier_module, "tensors_fingerprint", None)  # calling it would fail
    assert model.fingerprint == before


def test_it_is_in_eval_mode_and_says_what_it_is() -> None:
    model = classifier(name="mine")
    assert not any(module.training for module in model.modules())
    assert "mine, input_shape=(1, 4, 4), num_classes=3" in repr(model)
    assert model.device == torch.device("cpu")
