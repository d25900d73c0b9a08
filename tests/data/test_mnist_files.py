"""MNIST and Fashion-MNIST from files: what torchvision would read, checked, and what is said of a wrong file."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pytest_robust.data.dataset import DataSource
from pytest_robust.data.files import data_root, default_data_root
from pytest_robust.data.mnist import fashion_mnist, mnist
from pytest_robust.errors import DataError, MissingDataError

IMAGES = "train-images-idx3-ubyte"
LABELS = "t10k-labels-idx1-ubyte"
HTML = b"<!DOCTYPE html><html>This page has moved.</html>"


@pytest.mark.parametrize(("gz", "plain"), [(True, True), (True, False), (False, True)])
def test_reads_what_torchvision_reads_packed_or_not(idx_files: Any, tmp_path: Path, gz: bool, plain: bool) -> None:
    from torchvision.datasets import MNIST

    dataset = mnist(DataSource(idx_files.write(tmp_path / "mine", gz=gz, plain=plain)))
    for part, split in ((True, dataset.train), (False, dataset.test)):
        reference = MNIST(idx_files.write(tmp_path / "reference"), train=part)
        assert torch.equal(split.x, reference.data.unsqueeze(1).to(torch.float32) / 255)
        assert torch.equal(split.y, reference.targets)
    assert (dataset.name, dataset.out_distribution) == ("mnist", "notmnist")
    assert (dataset.train.name, dataset.test.name) == ("mnist/train", "mnist/test")


def test_fashion_mnist_has_its_own_folder_and_names(idx_files: Any, tmp_path: Path) -> None:
    root = idx_files.write(tmp_path, "FashionMNIST/raw")
    dataset = fashion_mnist(DataSource(root))
    assert dataset.class_names[9] == "Ankle boot"
    assert (dataset.name, dataset.out_distribution) == ("fashion_mnist", "notmnist")
    with pytest.raises(MissingDataError, match=r"mnist: MNIST/raw/ is not"):
        mnist(DataSource(root))


def test_reading_changes_nothing_under_the_root(idx_files: Any, tmp_path: Path, tree: Callable[..., Any]) -> None:
    root = idx_files.write(tmp_path, plain=False)
    before = tree(root)
    mnist(DataSource(root))
    assert tree(root) == before


@pytest.mark.parametrize("load", [mnist, fashion_mnist])
def test_a_missing_data_set_names_the_options_that_would_get_it(load: Any, tmp_path: Path) -> None:
    with pytest.raises(MissingDataError) as caught:
        load(DataSource(tmp_path))
    message = str(caught.value)
    assert message.startswith(load.__name__)
    assert str(tmp_path) in message
    assert "--data-root DIR" in message
    assert "--download" in message
    assert "MNIST/raw/" in message


def test_a_single_missing_file_is_missing_data(idx_files: Any, tmp_path: Path) -> None:
    root = idx_files.write(tmp_path)
    (root / "MNIST/raw" / LABELS).unlink()
    assert len(mnist(DataSource(root)).test) == 12
    (root / "MNIST/raw" / f"{LABELS}.gz").unlink()
    with pytest.raises(MissingDataError, match="not completely"):
        mnist(DataSource(root))


@pytest.mark.parametrize(
    "content", [HTML, b"", gzip.compress(b"something else")], ids=["a web page", "nothing", "another file"]
)
def test_another_packed_file_is_named_with_both_sums_and_kept(idx_files: Any, tmp_path: Path, content: bytes) -> None:
    root = idx_files.write(tmp_path)
    path = root / "MNIST/raw" / f"{IMAGES}.gz"
    path.write_bytes(content)
    with pytest.raises(
        DataError, match=rf"mnist: {re.escape(str(path))} .*MD5 sum is \w{{32}}, .*\w{{32}}.*--download"
    ):
        mnist(DataSource(root))
    assert path.read_bytes() == content


def test_an_unpacked_file_that_differs_from_the_packed_one_is_named(idx_files: Any, tmp_path: Path) -> None:
    root = idx_files.write(tmp_path)
    path = root / "MNIST/raw" / IMAGES
    content = bytearray(path.read_bytes())
    content[500] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"{re.escape(str(path))} .*not what {IMAGES}.gz beside it holds"):
        mnist(DataSource(root))


@pytest.mark.parametrize("stem", [IMAGES, LABELS])
@pytest.mark.parametrize(
    "spoil",
    [
        lambda content: content[:-1],
        lambda content: content + b"\0",
        lambda content: content[:10],
        lambda content: content[:0],
        lambda content: HTML * (1 + len(content) // len(HTML)),
        lambda content: b"\0\0\x0b" + content[3:],
    ],
    ids=["short", "long", "header", "empty", "html", "other-dtype"],
)
def test_an_idx_file_of_the_wrong_form_is_named(idx_files: Any, tmp_path: Path, stem: str, spoil: Any) -> None:
    root = idx_files.write(tmp_path, gz=False)
    path = root / "MNIST/raw" / stem
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(DataError, match=rf"mnist: {re.escape(str(path))} .*is not an idx file of"):
        mnist(DataSource(root))


def test_a_label_out_of_range_is_named(idx_files: Any, tmp_path: Path) -> None:
    root = idx_files.write(tmp_path, gz=False)
    path = root / "MNIST/raw" / LABELS
    content = bytearray(path.read_bytes())
    content[-1] = 10
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"mnist/test: labels must be in 0\.\.9, but run from \d to 10"):
        mnist(DataSource(root))


def test_without_a_root_the_users_cache_folder_is_searched(
    idx_files: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert default_data_root() == tmp_path / "cache/pytest-robust/data"
    with pytest.raises(MissingDataError, match=re.escape(str(default_data_root()))):
        mnist(DataSource())
    idx_files.write(default_data_root())
    assert len(mnist(DataSource()).train) == 30
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert default_data_root() == tmp_path / "home/.cache/pytest-robust/data"
    assert data_root(DataSource(Path("~/mine"))) == tmp_path / "home/mine"


def test_all_256_grey_levels_arrive_exactly() -> None:
    from pytest_robust.data.pixels import split_from_bytes

    levels = torch.arange(256, dtype=torch.uint8).view(1, 16, 16)
    split = split_from_bytes(levels, torch.zeros(1, dtype=torch.uint8), 1, "levels")
    expected = (np.arange(256, dtype=np.float64) / 255).astype(np.float32)
    assert np.array_equal(split.x.flatten().numpy(), expected)
    assert split.y.dtype == torch.int64
