"""The ensembles paper's networks: Tables 1 and 3, their slightly different versions, and the names of those."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from pytest_robust.catalogue import Registries
from pytest_robust.errors import UnknownNameError
from pytest_robust.models.convnets import small_cnn
from pytest_robust.models.ensemble_networks import ensemble_cifar, variant, variants


def shapes(network: nn.Module) -> list[tuple[int, ...]]:
    return [tuple(p.shape) for p in network.parameters() if p.ndim > 1]


def test_the_cifar_network_is_table_3() -> None:
    network = ensemble_cifar(10, (3, 32, 32))
    convolutions = [m.weight.shape[:2] for m in network.modules() if isinstance(m, nn.Conv2d)]
    assert convolutions == [(32, 3), (32, 32), (64, 32), (64, 64), (128, 64), (128, 128)]
    assert [m.p for m in network.modules() if isinstance(m, nn.Dropout)] == [0.2, 0.3, 0.4, 0.5]
    assert [tuple(m.weight.shape) for m in network.modules() if isinstance(m, nn.Linear)] == [(512, 2048), (10, 512)]


def test_without_anything_extra_the_mnist_version_is_the_papers_network() -> None:
    assert shapes(variant("mnist+0")(10, (1, 28, 28))) == shapes(small_cnn(10, (1, 28, 28)))


@pytest.mark.parametrize(("plan", "filters"), [("mnist", 32), ("cifar", 32), ("digits", 16)])
def test_versions_differ_from_each_other_and_are_registered(plan: str, filters: int) -> None:
    names, registry = variants(plan, 10), Registries().architectures
    networks = [registry.get(name)(10, (3, 32, 32)) for name in names]
    assert len({str(shapes(network)) for network in networks}) == 10
    wider, deeper = (
        shapes(registry.get(f"ensemble_variant:{plan}+{tail}")(10, (3, 32, 32))) for tail in ("4", "0+conv")
    )
    assert wider[0] == (filters + 4, 3, 3, 3)
    assert len(deeper) == len(shapes(networks[0])) + 1


@settings(max_examples=12)
@given(
    st.sampled_from(["mnist+0", "mnist+8+conv", "cifar+4", "digits+0+conv"]),
    st.integers(1, 12), st.integers(1, 3), st.integers(1, 33), st.integers(1, 33),
)  # fmt: skip
def test_they_take_images_of_every_size(name: str, classes: int, channels: int, height: int, width: int) -> None:
    network = variant(name)(classes, (channels, height, width)).eval()
    with torch.no_grad():
        assert network(torch.rand(2, channels, height, width)).shape == (2, classes)


@pytest.mark.parametrize("name", ["mnist", "mnist+", "cifar+4+pool", "vgg+4", ""])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(UnknownNameError, match="is no version of the ensembles' networks"):
        Registries().architectures.get(f"ensemble_variant:{name}")
