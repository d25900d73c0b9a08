"""The decision-mismatch paper's networks: as many weights as its text gives, and the image sizes that they say."""

from __future__ import annotations

import pytest
import torch

from pytest_robust.catalogue import Registries
from pytest_robust.errors import UnknownNameError
from pytest_robust.models.mismatch_networks import mismatch_cnn, mismatch_cnn_digits, mismatch_mlp, resnet50_cifar


def weights(network: torch.nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def test_the_cnn_has_the_papers_weights() -> None:
    convolutions = (25 * 1 + 1) * 10 + (25 * 10 + 1) * 20
    assert weights(mismatch_cnn(10, (1, 28, 28))) == convolutions + (320 + 1) * 50 + (50 + 1) * 10


def test_the_mlp_has_the_papers_weights() -> None:
    assert weights(mismatch_mlp(10, (1, 28, 28))) == (784 + 1) * 320 + (320 + 1) * 50 + (50 + 1) * 10


@pytest.mark.parametrize("size", [16, 17, 28, 32])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_cnn_takes_images_of_16_pixels_and_more(size: int, channels: int) -> None:
    network = mismatch_cnn(7, (channels, size, size + 3))
    assert network(torch.rand(2, channels, size, size + 3)).shape == (2, 7)


@pytest.mark.parametrize("size", [4, 8, 9])
def test_the_digits_cnn_takes_images_of_4_pixels_and_more(size: int) -> None:
    assert mismatch_cnn_digits(7, (1, size, size))(torch.rand(2, 1, size, size)).shape == (2, 7)


def test_resnet50_keeps_small_images_large_until_its_blocks() -> None:
    network = resnet50_cifar(10, (3, 32, 32)).eval()
    seen = []
    network.layer4.register_forward_hook(lambda _, __, out: seen.append(tuple(out.shape)))
    with torch.no_grad():
        assert network(torch.rand(1, 3, 32, 32)).shape == (1, 10)
    assert seen == [(1, 2048, 4, 4)]


@pytest.mark.parametrize("name", ["mismatch_cnn", "mismatch_cnn_digits", "mismatch_mlp", "resnet50_cifar"])
def test_all_are_registered(name: str) -> None:
    assert callable(Registries().architectures.get(name))
    with pytest.raises(UnknownNameError, match=name):
        Registries().architectures.get(f"{name}x")
