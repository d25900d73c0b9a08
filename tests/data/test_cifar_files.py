"""CIFAR-10 and the foreign part of CIFAR-100, from torchvision's pickles or from the compact form."""

from __future__ import annotations

import hashlib
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pytest_robust.data import cifar as module
from pytest_robust.data.cifar import OVERLAP, cifar10, cifar100
from pytest_robust.data.dataset import DataSource
from pytest_robust.errors import DataError, MissingDataError

NAMES = sorted([*OVERLAP, *(f"foreign_{k:02}" for k in range(75))])


def expected(files: Any, part: str) -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.from_numpy(files.pixels[part]).to(torch.float32) / 255
    return x, torch.tensor(files.labels[part])


def test_cifar10_is_read_in_the_published_order(cifar10_files: Any, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dataset = cifar10(DataSource(cifar10_files.write(tmp_path)))
    for part, split in (("train", dataset.train), ("test", dataset.test)):
        x, y = expected(cifar10_files, part)
        assert torch.equal(split.x, x)
        assert torch.equal(split.y, y)
        assert split.x.is_contiguous()
    assert dataset.class_names[3] == "cat"
    assert dataset.out_distribution == "cifar100"


@pytest.mark.parametrize("name", ["data_batch_2", "test_batch", "batches.meta"])
def test_a_wrong_file_is_named_and_never_unpickled(
    cifar10_files: Any, tmp_path: Path, tree: Callable[..., Any], name: str
) -> None:
    root = cifar10_files.write(tmp_path)
    path = root / "cifar-10-batches-py" / name
    path.write_bytes(b"cos\nabort\n(tR.")  # a pickle that would end the process
    before = tree(root)
    with pytest.raises(DataError, match=rf"cifar10: {re.escape(str(path))} .*MD5 sum is \w{{32}}, .*--download"):
        cifar10(DataSource(root))
    assert tree(root) == before


@pytest.mark.parametrize("load", [cifar10, cifar100])
def test_a_missing_data_set_names_the_options_that_would_get_it(load: Any, tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=rf"{load.__name__}: cifar-.*--data-root DIR.*--download"):
        load(DataSource(tmp_path))


def test_a_missing_batch_is_missing_data(cifar10_files: Any, tmp_path: Path) -> None:
    root = cifar10_files.write(tmp_path)
    (root / "cifar-10-batches-py/data_batch_1").unlink()
    with pytest.raises(MissingDataError, match="not completely"):
        cifar10(DataSource(root))


def test_cifar100_leaves_the_overlapping_classes_out(cifar100_files: Any, tmp_path: Path) -> None:
    dataset = cifar100(DataSource(cifar100_files.write(tmp_path)))
    kept = [label for label, name in enumerate(NAMES) if name not in OVERLAP]
    for part, split in (("train", dataset.train), ("test", dataset.test)):
        x, _ = expected(cifar100_files, part)
        assert torch.equal(split.x, x[kept])
        assert split.y.tolist() == list(range(75))
    assert dataset.class_names == tuple(NAMES[label] for label in kept)
    assert len(OVERLAP) == 25
    assert not OVERLAP & set(dataset.class_names)


def write_compact(root: Path, monkeypatch: pytest.MonkeyPatch, **changes: np.ndarray) -> Path:
    """A small compact file: three images of each of the 75 classes to train, one to test, in another order."""
    draw = np.random.RandomState(3)
    kept = np.array([label for label, name in enumerate(NAMES) if name not in OVERLAP])
    arrays: dict[str, np.ndarray] = {"fine_label_names": np.array(NAMES)}
    for part, copies in (("train", 3), ("test", 1)):
        arrays[f"{part}_fine"] = draw.permutation(np.repeat(kept, copies))
        arrays[f"{part}_images"] = draw.randint(0, 256, (75 * copies, 32, 32, 3)).astype(np.uint8)
    sums = {key: hashlib.sha256(arrays[key].tobytes()).hexdigest() for key in module.COMPACT_SHA256}
    monkeypatch.setattr(module, "COMPACT_SHA256", sums)
    root.mkdir(exist_ok=True)
    np.savez(root / "cifar100_subset.npz", **{**arrays, **changes})
    return root


def test_the_compact_form_is_read_with_its_labels_counted_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_compact(tmp_path, monkeypatch)
    dataset = cifar100(DataSource(root))
    with np.load(root / "cifar100_subset.npz") as file:
        for part, split in (("train", dataset.train), ("test", dataset.test)):
            pixels = torch.from_numpy(file[f"{part}_images"]).permute(0, 3, 1, 2)
            assert torch.equal(split.x, pixels.to(torch.float32) / 255)
            names = [NAMES[label] for label in file[f"{part}_fine"]]
            assert [dataset.class_names[label] for label in split.y] == names
    assert dataset.train.name == "cifar100/train (compact)"


def test_the_official_files_come_first(cifar100_files: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_compact(tmp_path, monkeypatch)
    assert len(cifar100(DataSource(tmp_path)).train) == 225
    assert len(cifar100(DataSource(cifar100_files.write(tmp_path))).train) == 75


@pytest.mark.parametrize("key", ["train_fine", "test_images"])
def test_changed_arrays_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    shape = (75, 32, 32, 3) if key.endswith("images") else (225,)
    root = write_compact(tmp_path, monkeypatch, **{key: np.zeros(shape, dtype=np.uint8)})
    with pytest.raises(DataError, match=rf"cifar100_subset\.npz .*SHA-256 sum of {key} is"):
        cifar100(DataSource(root))


def test_a_file_that_is_no_npz_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_compact(tmp_path, monkeypatch) / "cifar100_subset.npz"
    whole = path.read_bytes()
    for content in (b"", b"<html></html>", whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(DataError, match=rf"cifar100: {re.escape(str(path))} .*cannot be read"):
            cifar100(DataSource(tmp_path))
    np.savez(path, other=np.zeros(3))
    with pytest.raises(DataError, match=r"cannot be read.*train_images"):
        cifar100(DataSource(tmp_path))


def test_other_class_names_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_compact(tmp_path, monkeypatch, fine_label_names=np.array([f"name_{k}" for k in range(100)]))
    with pytest.raises(DataError, match="100 are foreign to CIFAR-10, not 75"):
        cifar100(DataSource(root))
