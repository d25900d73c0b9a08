"""The real files, where the environment variable ROBUST_DATA_ROOT names a folder that holds them."""

from __future__ import annotations

import importlib
import os
import time
import warnings
from functools import cache
from pathlib import Path

import pytest
import torch

from pytest_robust.catalogue import DATASETS
from pytest_robust.data.dataset import Dataset, DataSource
from pytest_robust.errors import MissingDataError

ROOT = os.environ.get("ROBUST_DATA_ROOT")
pytestmark = [
    pytest.mark.realdata,
    pytest.mark.skipif(not ROOT, reason="ROBUST_DATA_ROOT is not set: see docs/datasets.md"),
]

SIZES = {
    "mnist": (60_000, 10_000, 10, (1, 28, 28)),
    "fashion_mnist": (60_000, 10_000, 10, (1, 28, 28)),
    "notmnist": (10_000, 8_724, 10, (1, 28, 28)),
    "cifar10": (50_000, 10_000, 10, (3, 32, 32)),
}


@cache
def load(name: str) -> tuple[Dataset, float]:
    """The data set and the seconds it took, fingerprints included."""
    module, _, factory = DATASETS[name].partition(":")
    make = getattr(importlib.import_module(module), factory)
    importlib.import_module("torchvision")
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        try:
            dataset: Dataset = make(DataSource(Path(str(ROOT))))
        except MissingDataError as error:
            pytest.skip(str(error))
    assert dataset.train.fingerprint != dataset.test.fingerprint
    return dataset, time.perf_counter() - start


def pixels(split_x: torch.Tensor) -> set[bytes]:
    return {image.numpy().tobytes() for image in (split_x * 255).round().to(torch.uint8)}


@pytest.mark.parametrize("name", SIZES)
def test_sizes_are_the_published_ones(name: str) -> None:
    dataset, seconds = load(name)
    found = (len(dataset.train), len(dataset.test), dataset.num_classes, dataset.input_shape)
    assert found == SIZES[name]
    assert seconds < 20
    assert (float(dataset.train.x.min()), float(dataset.train.x.max())) == (0.0, 1.0)
    assert dataset.train.y.unique().tolist() == list(range(dataset.num_classes))


def test_mnist_is_what_torchvision_loads() -> None:
    from torchvision.datasets import MNIST

    dataset, _ = load("mnist")
    if not (Path(str(ROOT)) / "MNIST/raw/train-images-idx3-ubyte").is_file():
        pytest.skip("torchvision reads unpacked files only")
    for part, split in ((True, dataset.train), (False, dataset.test)):
        reference = MNIST(str(ROOT), train=part)
        assert torch.equal((split.x[:, 0] * 255).round().to(torch.uint8), reference.data)
        assert torch.equal(split.y, reference.targets)


def test_no_notmnist_image_is_on_both_sides() -> None:
    dataset, _ = load("notmnist")
    train, test = pixels(dataset.train.x), pixels(dataset.test.x)
    assert not train & test
    assert len(train | test) == 18_232
    counts = torch.cat([dataset.train.y, dataset.test.y]).bincount().tolist()
    assert counts == [1872, 1873, 1873, 1873, 1873, 1872, 1872, 1872, 1872, 1872]
    assert all(900 < count < 1_150 for count in dataset.train.y.bincount().tolist())


def test_cifar100_is_foreign_to_cifar10() -> None:
    dataset, _ = load("cifar100")
    assert (dataset.num_classes, len(dataset.test)) == (75, 7_500)
    assert len(dataset.train) in (16_000, 37_500)
    assert dataset.test.y.bincount().tolist() == [100] * 75
    shared = pixels(dataset.test.x) & pixels(load("cifar10")[0].train.x)
    assert len(shared) == 1, "cattle_s_000159.png is CIFAR-10's training image 3021, and no other is"
