"""MNIST and Fashion-MNIST from torchvision's layout: ``MNIST/raw`` and ``FashionMNIST/raw`` under the data root."""

from __future__ import annotations

import math
import struct
import tempfile
import zlib
from pathlib import Path
from typing import Any

from torch import Tensor

from pytest_robust.data.dataset import Dataset, DataSource
from pytest_robust.data.download import ensure
from pytest_robust.data.files import check_file, wrong_file
from pytest_robust.data.pixels import split_from_bytes
from pytest_robust.data.split import Split

# Shapes of the idx files, as published.
SHAPES: dict[str, tuple[int, ...]] = {
    "train-images-idx3-ubyte": (60_000, 28, 28),
    "train-labels-idx1-ubyte": (60_000,),
    "t10k-images-idx3-ubyte": (10_000, 28, 28),
    "t10k-labels-idx1-ubyte": (10_000,),
}
IDX_UINT8 = 0x800  # of the magic number; its last byte is the number of dimensions


def mnist(source: DataSource) -> Dataset:
    """Handwritten digits, 1 × 28 × 28 in [0, 1]: 60,000 for training, 10,000 for testing.

    Source: Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to document recognition",
    Proceedings of the IEEE, 1998. Licence: CC BY-SA 3.0.

    Raises:
        MissingDataError: no files, and `source` does not ask for a download.
        DataError: a file with the wrong content.
    """
    from torchvision.datasets import MNIST

    return _dataset("mnist", MNIST, source, tuple("0123456789"))


def fashion_mnist(source: DataSource) -> Dataset:
    """Photographs of clothes, 1 × 28 × 28 in [0, 1]: 60,000 for training, 10,000 for testing.

    Source: H. Xiao, K. Rasul, R. Vollgraf, "Fashion-MNIST", arXiv:1708.07747, 2017. Licence: MIT.

    Raises:
        MissingDataError: no files, and `source` does not ask for a download.
        DataError: a file with the wrong content.
    """
    from torchvision.datasets import FashionMNIST

    return _dataset("fashion_mnist", FashionMNIST, source, tuple(FashionMNIST.classes))


def _dataset(name: str, loader: Any, source: DataSource, class_names: tuple[str, ...]) -> Dataset:
    """`loader` is torchvision's class; its name is the folder's."""
    folder = Path(loader.__name__, "raw")

    def present(root: Path) -> bool:
        return all((root / folder / stem).is_file() or (root / folder / f"{stem}.gz").is_file() for stem in SHAPES)

    root = ensure(name, source, f"{folder.as_posix()}/", present, lambda into: loader(into, download=True))
    md5 = dict(loader.resources)

    def split(prefix: str, part: str) -> Split:
        images, labels = (
            _tensor(root / folder, stem, md5[f"{stem}.gz"], name) for stem in SHAPES if stem.startswith(prefix)
        )
        return split_from_bytes(images, labels, len(class_names), f"{name}/{part}")

    return Dataset(name, split("train", "train"), split("t10k", "test"), class_names, out_distribution="notmnist")


def _tensor(folder: Path, stem: str, md5: str, dataset: str) -> Tensor:
    """One idx file; the sum is published for its ``.gz`` only, whose trailer holds the CRC-32 of the file itself."""
    plain, packed = folder / stem, folder / f"{stem}.gz"
    if packed.is_file():
        check_file(packed, md5, dataset)
    if not plain.is_file():
        with tempfile.TemporaryDirectory() as scratch:  # the data root may be read-only
            unpacked = Path(scratch, stem)
            unpacked.write_bytes(zlib.decompress(packed.read_bytes(), wbits=zlib.MAX_WBITS | 16))
            return _read(unpacked, packed, dataset)
    if packed.is_file() and zlib.crc32(plain.read_bytes()) != struct.unpack("<I", packed.read_bytes()[-8:-4])[0]:
        raise wrong_file(dataset, plain, f"it is not what {packed.name} beside it holds")
    return _read(plain, plain, dataset)


def _read(path: Path, origin: Path, dataset: str) -> Tensor:
    """What torchvision reads from the idx file at `path`; `origin` is the user's name for it."""
    from torchvision.datasets.mnist import read_image_file, read_label_file

    shape = SHAPES[path.name]
    header = struct.pack(f">{1 + len(shape)}I", IDX_UINT8 + len(shape), *shape)
    with path.open("rb") as file:
        start = file.read(len(header))
    length = len(header) + math.prod(shape)
    if start != header or path.stat().st_size != length:
        raise wrong_file(dataset, origin, f"it is not an idx file of {' × '.join(map(str, shape))} bytes")
    tensor: Tensor = (read_image_file if len(shape) > 1 else read_label_file)(str(path))
    return tensor
