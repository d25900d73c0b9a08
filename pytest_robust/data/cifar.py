"""CIFAR-10, and the part of CIFAR-100 that has nothing in common with it, from torchvision's layout."""

from __future__ import annotations

import hashlib
import pickle
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pytest_robust.data.dataset import Dataset, DataSource
from pytest_robust.data.download import ensure
from pytest_robust.data.files import check_file, wrong_file
from pytest_robust.data.pixels import split_from_bytes
from pytest_robust.data.split import Split
from pytest_robust.errors import DataError

# The fine classes of the superclasses that CIFAR-10 has too, or nearly (Abbasi et al., section V).
OVERLAP = frozenset(
    {
        *("bicycle", "bus", "motorcycle", "pickup_truck", "train"),  # vehicles 1
        *("lawn_mower", "rocket", "streetcar", "tank", "tractor"),  # vehicles 2
        *("fox", "porcupine", "possum", "raccoon", "skunk"),  # medium-sized mammals
        *("hamster", "mouse", "rabbit", "shrew", "squirrel"),  # small mammals
        *("bear", "leopard", "lion", "tiger", "wolf"),  # large carnivores
    }
)
NUM_FOREIGN = 75

COMPACT = "cifar100_subset.npz"
# Of the arrays in C order: uint8 pixels N × 32 × 32 × 3, and labels as little-endian int64.
COMPACT_SHA256 = {
    "train_images": "4634d767c347322cab08c9f4e64c354054fb48971a7090276e154733a6d817cf",
    "train_fine": "5dc44fdbaf35c4a61cd8380cc6b4e0728dc03abbee437fa00d2c5927437af5c3",
    "test_images": "6590a258e5932b9c66f8316014ac94d3c78b0781ff8b98548041cac38e77bdf9",
    "test_fine": "929b5abe4b0ef17487ca4a8e480f75f53ad1f909ca16430ee217971ae65472c6",
}

Part = tuple[np.ndarray, np.ndarray]  # uint8 (N, 32, 32, 3), integer labels (N,)


def cifar10(source: DataSource) -> Dataset:
    """Small photographs of 10 classes, 3 × 32 × 32 in [0, 1]: 50,000 for training, 10,000 for testing.

    Source: A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", technical report, University of
    Toronto, 2009. No licence is stated; the author asks that the report be cited.

    Raises:
        MissingDataError: no files, and `source` does not ask for a download.
        DataError: a file with the wrong content.
    """
    from torchvision.datasets import CIFAR10

    root = ensure(
        "cifar10", source, f"{CIFAR10.base_folder}/", lambda root: _complete(CIFAR10, root), _fetcher(CIFAR10)
    )
    class_names, train, test = _official(CIFAR10, root, "cifar10")
    train_split, test_split = _split(*train, 10, "cifar10/train"), _split(*test, 10, "cifar10/test")
    return Dataset("cifar10", train_split, test_split, class_names, out_distribution="cifar100")


def cifar100(source: DataSource) -> Dataset:
    """CIFAR-100 without the five superclasses that overlap with CIFAR-10: 75 classes, 3 × 32 × 32 in [0, 1].

    From torchvision's ``cifar-100-python/``, 37,500 images for training and 7,500 for testing; where that is not
    there, from the compact ``cifar100_subset.npz`` with 16,000 of the former and all of the latter. Labels 0 to 74
    count the remaining fine classes in alphabetical order.

    Source: A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", technical report, University of
    Toronto, 2009; the choice of superclasses: M. Abbasi et al., "Towards Dependable Deep Convolutional Neural Networks
    (CNNs) with Out-distribution Learning", 2018. No licence is stated.

    Raises:
        MissingDataError: no files, and `source` does not ask for a download.
        DataError: a file with the wrong content.
    """
    from torchvision.datasets import CIFAR100

    def present(root: Path) -> bool:
        return _complete(CIFAR100, root) or (root / COMPACT).is_file()

    root = ensure("cifar100", source, f"{CIFAR100.base_folder}/ or {COMPACT}", present, _fetcher(CIFAR100))
    official = _complete(CIFAR100, root)
    names, *parts = _official(CIFAR100, root, "cifar100") if official else _compact(root / COMPACT)
    kept = np.array([label for label, name in enumerate(names) if name not in OVERLAP])
    if len(kept) != NUM_FOREIGN:
        raise DataError(
            f"cifar100: {root} holds class names of which {len(kept)} are foreign to CIFAR-10, not "
            f"{NUM_FOREIGN}: fetch the files again."
        )
    origin = "" if official else " (compact)"
    train, test = (
        _split(*_foreign(part, kept), NUM_FOREIGN, f"cifar100/{name}{origin}")
        for name, part in zip(("train", "test"), parts, strict=True)
    )
    return Dataset("cifar100", train, test, tuple(names[label] for label in kept))


def _foreign(part: Part, kept: np.ndarray) -> Part:
    """The images whose label is in `kept` (sorted), relabelled with its position there."""
    images, labels = part
    rows = np.isin(labels, kept)
    return images[rows], np.searchsorted(kept, labels[rows])


def _split(images: np.ndarray, labels: np.ndarray, num_classes: int, name: str) -> Split:
    pixels = torch.from_numpy(images.transpose(0, 3, 1, 2))
    return split_from_bytes(pixels, torch.from_numpy(labels), num_classes, name)


def _files(loader: Any) -> Iterator[tuple[str, str]]:
    """Names and MD5 sums of the files that `loader`, a class of torchvision's, needs."""
    yield from loader.train_list
    yield from loader.test_list
    yield loader.meta["filename"], loader.meta["md5"]


def _complete(loader: Any, root: Path) -> bool:
    return all((root / loader.base_folder / name).is_file() for name, _ in _files(loader))


def _fetcher(loader: Any) -> Callable[[Path], None]:
    def fetch(into: Path) -> None:
        loader(into, download=True)
        (into / loader.filename).unlink()  # the archive; what it holds is unpacked beside it

    return fetch


def _official(loader: Any, root: Path, dataset: str) -> tuple[tuple[str, ...], Part, Part]:
    """Class names, training part and test part, as torchvision loads them once it has checked the MD5 sums."""
    try:
        with warnings.catch_warnings():
            # The published pickles were written by NumPy 1, whose dtype arguments NumPy 2.4 finds odd.
            warnings.filterwarnings("ignore", message=r"dtype\(\): align should be passed")
            train, test = (loader(root, train=part) for part in (True, False))
    except RuntimeError as error:
        for name, md5 in _files(loader):  # torchvision does not say which file it is
            check_file(root / loader.base_folder / name, md5, dataset)
        raise DataError(f"{dataset}: {root / loader.base_folder} changed while it was read: try again.") from error
    return tuple(train.classes), (train.data, np.array(train.targets)), (test.data, np.array(test.targets))


def _compact(path: Path) -> tuple[tuple[str, ...], Part, Part]:
    """The same from the compact form: see docs/datasets.md for its arrays."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {key: file[key] for key in (*COMPACT_SHA256, "fine_label_names")}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, pickle.UnpicklingError) as error:
        raise wrong_file("cifar100", path, f"it cannot be read: {error}") from error
    for key, expected in COMPACT_SHA256.items():
        array = arrays[key].astype("<i8") if key.endswith("_fine") else arrays[key]
        found = hashlib.sha256(np.ascontiguousarray(array).reshape(-1).data).hexdigest()
        if found != expected:
            raise wrong_file("cifar100", path, f"the SHA-256 sum of {key} is {found} instead of {expected}")
    names = tuple(str(name) for name in arrays["fine_label_names"])
    train, test = ((arrays[f"{part}_images"], arrays[f"{part}_fine"]) for part in ("train", "test"))
    return names, train, test
