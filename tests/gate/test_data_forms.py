"""Whatever form labelled images come in, they are the same images, in the same order."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    RandomSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)
from torchvision import transforms
from torchvision.datasets import FakeData

from pytest_robust.data.dataset import Dataset
from pytest_robust.data.image_folder import ImageFolder
from pytest_robust.data.split import Split
from pytest_robust.gate.data import split_of


class Pairs(torch.utils.data.Dataset):
    """A map-style data set without any tricks."""

    def __init__(self, x, y) -> None:
        self.x, self.y = x, y

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, i):
        return self.x[i], self.y[i]


FORMS = {
    "split": lambda s: s,
    "dataset of this package": lambda s: Dataset("toy", s, s, ("a", "b", "c", "d")),
    "tensors": lambda s: (s.x, s.y),
    "arrays": lambda s: (s.x.numpy(), s.y.numpy()),
    "float64 arrays": lambda s: (s.x.numpy().astype(np.float64), s.y.numpy().astype(np.int16)),
    "a list of two tensors": lambda s: [s.x, s.y],
    "column of labels": lambda s: (s.x, s.y[:, None]),
    "tensor data set": lambda s: TensorDataset(s.x, s.y),
    "map-style": lambda s: Pairs(s.x, s.y.tolist()),
    "list of pairs": lambda s: list(zip(s.x, s.y.tolist(), strict=True)),
    "subset": lambda s: Subset(TensorDataset(s.x, s.y), range(len(s))),
    "loader": lambda s: DataLoader(TensorDataset(s.x, s.y), batch_size=7),
    "loader that drops the last": lambda s: DataLoader(TensorDataset(s.x, s.y), batch_size=7, drop_last=True),
    "shuffling loader": lambda s: DataLoader(TensorDataset(s.x, s.y), batch_size=7, shuffle=True, drop_last=True),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_the_same_split(images, tmp_path, form):
    found = split_of(FORMS[form](images), tmp_path)
    assert torch.equal(found.x, images.x)
    assert torch.equal(found.y, images.y)
    assert found.fingerprint == images.fingerprint


@pytest.mark.parametrize("batched", [False, True], ids=["sampler", "batch sampler"])
def test_a_loader_that_draws_at_random_is_read_in_order(images, tmp_path, batched):
    data, some = TensorDataset(images.x, images.y), [7, 2, 30, 11]
    for sampler, expected in (
        (WeightedRandomSampler([1.0] * 3 + [0.0] * 45, 200), range(48)),
        (SubsetRandomSampler(some), sorted(some)),
        (RandomSampler(data, replacement=True, num_samples=100), range(48)),
    ):
        how = {"batch_sampler": BatchSampler(sampler, 5, drop_last=True)} if batched else {"sampler": sampler}
        assert torch.equal(split_of(DataLoader(data, **how), tmp_path).x, images.x[list(expected)])


def test_a_loader_with_a_sampler_of_its_own_keeps_that_order(images, tmp_path):
    loader = DataLoader(TensorDataset(images.x, images.y), batch_size=2, sampler=[5, 3, 1])
    assert torch.equal(split_of(loader, tmp_path).x, images.x[[5, 3, 1]])


@pytest.mark.parametrize("transform", [None, transforms.ToTensor()], ids=["PIL", "ToTensor"])
def test_a_data_set_of_torchvision_is_in_the_unit_range(tmp_path, transform):
    data = FakeData(6, (3, 8, 10), num_classes=3, transform=transform)
    found = split_of(data, tmp_path)
    assert found.x.shape == (6, 3, 8, 10)
    assert 0.9 < float(found.x.max()) <= 1.0
    reference = FakeData(6, (3, 8, 10), num_classes=3, transform=transforms.ToTensor())
    assert torch.equal(found.x[4], reference[4][0])


def test_bytes_are_divided_by_255(tmp_path):
    pixels = torch.arange(256, dtype=torch.uint8).view(1, 16, 16)
    found = split_of((pixels, torch.tensor([0])), tmp_path)
    assert found.x.shape == (1, 1, 16, 16)
    assert torch.equal(found.x.flatten(), torch.arange(256) / 255)


@pytest.fixture
def folder(tmp_path):
    """Two classes with two images each, in grey."""
    for label, name in enumerate(("cat", "dog")):
        (tmp_path / "images" / name).mkdir(parents=True)
        for i in range(2):
            pixels = np.full((4, 6), 100 * label + i, dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / name / f"{i}.png")
    return tmp_path / "images"


def test_a_folder_is_read_as_its_files_are(folder):
    found = split_of("images", folder.parent)
    assert found.x.shape == (4, 1, 4, 6)
    assert torch.equal(found.x[:, 0, 0, 0], torch.tensor([0, 1, 100, 101]) / 255)
    assert found.y.tolist() == [0, 0, 1, 1]
    assert found.num_classes == 2
    assert split_of(folder, folder).fingerprint == found.fingerprint


def test_one_image_in_colour_makes_a_folder_colourful(folder):
    Image.new("RGB", (6, 4), (255, 0, 0)).save(folder / "dog" / "2.png")
    found = split_of(folder, folder)
    assert found.x.shape == (5, 3, 4, 6)
    assert found.x[4, :, 0, 0].tolist() == [1, 0, 0]


def test_a_folder_that_is_cut_out_is_what_its_chunks_are(folder):
    cut = ImageFolder.open(folder, resize=4, crop=4)
    found = split_of(cut, folder)
    (chunk,) = cut.chunks(10)
    assert torch.equal(found.x, chunk.x)
    assert isinstance(found, Split)


def test_a_factory_of_data_is_named_by_its_name(robust, tmp_path, monkeypatch):
    import sys

    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "gate_test_data.py").write_text(
        "import torch\ncalls = []\ndef split():\n    calls.append(1)\n"
        "    return torch.rand(6, 1, 2, 2), torch.arange(6) % 2\n"
    )
    found = robust.data("gate_test_data:split")
    assert found.name == "gate_test_data:split"
    assert robust.data("gate_test_data:split") is found
    assert sys.modules["gate_test_data"].calls == [1]
