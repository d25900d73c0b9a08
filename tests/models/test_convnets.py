"""The built-in networks: their shapes are the papers', and they take the images that they say they take."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from pytest_robust.catalogue import ARCHITECTURES, Registries
from pytest_robust.errors import UnknownNameError
from pytest_robust.models import convnets
from pytest_robust.models.classifier import Classifier


def sizes(network: nn.Module, kind: type[nn.Module]) -> list[tuple[int, ...]]:
    return [tuple(m.weight.shape) for m in network.modules() if isinstance(m, kind)]


SMALLEST = {"cuda_convnet": 8, "cuda_convnet_digits": 2, "small_cnn": 1, "mlp": 1}


@pytest.mark.parametrize("name", sorted(SMALLEST))
@settings(max_examples=8, deadline=None)
@given(num_classes=st.integers(1, 12), channels=st.integers(1, 3), more=st.tuples(*[st.integers(0, 25)] * 2))
def test_they_take_images_of_every_size(name: str, num_classes: int, channels: int, more: tuple[int, int]) -> None:
    shape = (channels, SMALLEST[name] + more[0], SMALLEST[name] + more[1])
    network = getattr(convnets, name)(num_classes, shape).eval()
    with torch.no_grad():
        assert network(torch.rand(2, *shape)).shape == (2, num_classes)


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 28, 28), (3, 40, 33)])
def test_vgg16_takes_images_of_every_usual_size(shape: tuple[int, int, int]) -> None:
    network = convnets.vgg16(11, shape).eval()
    with torch.no_grad():
        assert network(torch.rand(2, *shape)).shape == (2, 11)


def test_cuda_convnet_is_layers_18pct() -> None:
    network = convnets.cuda_convnet(11, (1, 28, 28))
    assert sizes(network, nn.Conv2d) == [(32, 1, 5, 5), (32, 32, 5, 5), (64, 32, 5, 5)]
    assert sizes(network, nn.Linear) == [(11, 64 * 3 * 3)]
    assert [type(m).__name__ for m in network] == [
        *("Conv2d", "MaxPool2d", "ReLU"),
        *("Conv2d", "ReLU", "AvgPool2d"),
        *("Conv2d", "ReLU", "AvgPool2d"),
        *("Flatten", "Dropout", "Linear"),
    ]


def test_vgg16_has_thirteen_convolutions_and_three_linear_layers() -> None:
    network = convnets.vgg16(10, (3, 32, 32))
    widths = [64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512]
    assert [(shape[0], *shape[2:]) for shape in sizes(network, nn.Conv2d)] == [(width, 3, 3) for width in widths]
    assert sizes(network, nn.Linear) == [(512, 512), (512, 512), (10, 512)]


def test_small_cnn_is_the_network_of_the_ensemble_paper() -> None:
    network = convnets.small_cnn(10, (1, 28, 28))
    assert sizes(network, nn.Conv2d) == [(32, 1, 3, 3), (32, 32, 3, 3)]
    assert sizes(network, nn.Linear) == [(128, 32 * 14 * 14), (10, 128)]


#: Sequential networks; the others are not made of a list of layers, and have tests of their own.
SEQUENTIAL = sorted(set(ARCHITECTURES) - {"exploring_autoencoder", "gac_conv", "gac_mlp", "resnet50_cifar"})


@pytest.mark.parametrize("name", SEQUENTIAL)
def test_every_built_in_has_penultimate_features_and_softmax_nowhere(name: str) -> None:
    shape = (1, 8, 8) if name == "cuda_convnet_digits" else (1, 28, 28)
    network = Registries().architectures.get(name)(10, shape)
    model, x = Classifier(network, num_classes=10, input_shape=shape), torch.rand(3, *shape)
    with torch.no_grad():
        assert torch.allclose(network[-1](model.features(x)), model(x), atol=1e-6)
    assert not any(isinstance(m, (nn.Softmax, nn.LogSoftmax)) for m in network.modules())


def test_channels_last_changes_no_answer() -> None:
    x = torch.rand(4, 3, 32, 32)
    for name in sorted(ARCHITECTURES):
        network = Registries().architectures.get(name)(10, (3, 32, 32)).eval()
        with torch.no_grad():
            expected = network(x)
            assert torch.allclose(network.to(memory_format=torch.channels_last)(x), expected, atol=1e-4), name


def test_torchvision_networks_are_architectures() -> None:
    factory = Registries().architectures.get("torchvision:mobilenet_v3_small")
    network = factory(7, (3, 32, 32)).eval()
    with torch.no_grad():
        assert network(torch.rand(2, 3, 32, 32)).shape == (2, 7)
    assert "mobilenet_v3_small" in factory.fingerprint


def test_torchvision_networks_give_plain_logits_in_training_too() -> None:
    network = Registries().architectures.get("torchvision:googlenet")(5, (3, 64, 64))
    assert network.train()(torch.rand(2, 3, 64, 64)).shape == (2, 5)


def test_an_unknown_torchvision_name_gets_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"no classifier 'resnet19'; did you mean 'torchvision:resnet1"):
        Registries().architectures.get("torchvision:resnet19")


def test_torchvision_is_imported_only_for_its_networks() -> None:
    code = (
        "import sys, pytest_robust.models.trained, pytest_robust.models.convnets, pytest_robust.catalogue as c;"
        "c.Registries().architectures.get('mlp'); print('torchvision' in sys.modules, 'art' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["False", "False"]
