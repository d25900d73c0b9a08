"""notMNIST (small): letters A to J from 18,724 glyphs of public fonts, the out-distribution set of MNIST."""

from __future__ import annotations

import hashlib
import io
import tarfile
import warnings
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from pytest_robust.data.dataset import Dataset, DataSource
from pytest_robust.data.download import ensure
from pytest_robust.data.files import wrong_file
from pytest_robust.data.pixels import split_from_bytes
from pytest_robust.data.split import Split

FOLDER = "notMNIST_small"
ARCHIVE = f"{FOLDER}.tar.gz"
URL = f"http://yaroslavvb.com/upload/notMNIST/{ARCHIVE}"
# Of the archive at URL. An archive that was packed anew has another sum and the same images: those are what counts.
URL_MD5 = "c9890a473a9769fda4bdf314aaf500dd"

LETTERS = "ABCDEFGHIJ"
SIDE = 28
NUM_IMAGES = 18_724
# Of all pixels and then all labels, uint8, in the order of the paths.
CONTENT_SHA256 = "d6293d32bb251c555a5e1bcc7457d2c3dd9c5ccf292c12243463a154334ccd0e"

TRAIN_SIZE = 10_000  # as Abbasi et al. train with; the rest is for testing
SPLIT_SEED = 0

# What Pillow raises for a file that is not a whole PNG.
UNDECODABLE = (OSError, SyntaxError, ValueError, EOFError, zlib.error)


def notmnist(source: DataSource) -> Dataset:
    """Letters A to J (labels 0 to 9), 1 × 28 × 28 in [0, 1]: 10,000 for training, the other 8,724 for testing.

    From ``notMNIST_small.tar.gz`` or the unpacked ``notMNIST_small/<letter>/*.png``, either of them under the data
    root or in its folder ``notMNIST/``. Files that cannot be decoded (the published archive has two empty ones) are
    left out with one warning, and are named in `Dataset.skipped`. The split is random and fixed; many fonts share a
    glyph, and identical images are kept on one side of it, so that no test image is in the training set.

    Source: Y. Bulatov, "notMNIST dataset", 2011; the sizes of the split: M. Abbasi et al., "Towards Dependable Deep
    Convolutional Neural Networks (CNNs) with Out-distribution Learning", 2018. No licence is stated.

    Raises:
        MissingDataError: no files, and `source` does not ask for a download.
        DataError: a file that is not a complete archive, or images that are not all the published ones.
    """
    root = ensure("notmnist", source, f"{ARCHIVE} or {FOLDER}/", lambda root: _find(root) is not None, _fetch)
    path = _find(root)
    assert path is not None
    glyphs = _load(path)
    if glyphs.skipped:
        warnings.warn(
            f"notmnist: {len(glyphs.skipped)} files of {path} cannot be decoded and are left out; "
            "Dataset.skipped names them.",
            stacklevel=2,
        )
    draw = np.random.RandomState(SPLIT_SEED)  # NumPy promises the same numbers of it in every version
    chosen = _training_rows(glyphs.pixels, draw)
    train, test = (
        _split(glyphs, draw.permutation(np.flatnonzero(rows)), f"notmnist/{part}")
        for part, rows in (("train", chosen), ("test", ~chosen))
    )
    return Dataset("notmnist", train, test, tuple(LETTERS), skipped=glyphs.skipped)


@dataclass(frozen=True)
class _Glyphs:
    """All images, uint8 (N, 28, 28), and their labels, uint8 (N,), in the order of their paths."""

    pixels: np.ndarray
    labels: np.ndarray
    skipped: tuple[str, ...]


def _split(glyphs: _Glyphs, rows: np.ndarray, name: str) -> Split:
    pixels, labels = torch.from_numpy(glyphs.pixels[rows]), torch.from_numpy(glyphs.labels[rows])
    return split_from_bytes(pixels, labels, len(LETTERS), name)


def _training_rows(pixels: np.ndarray, draw: np.random.RandomState) -> np.ndarray:
    """Which images are for training, a bool mask: whole groups of identical images in random order, up to the size."""
    _, group = np.unique(pixels.reshape(len(pixels), -1).view(f"V{SIDE * SIDE}"), return_inverse=True)
    group = group.reshape(-1)
    sizes = np.bincount(group)
    taken = np.zeros(len(sizes), dtype=bool)
    room = TRAIN_SIZE
    for candidate in draw.permutation(len(sizes)):
        if sizes[candidate] <= room:
            taken[candidate] = True
            room -= int(sizes[candidate])
    rows: np.ndarray = taken[group]
    return rows


def _find(root: Path) -> Path | None:
    """The archive (quicker to read) or else the folder of PNG files, if one is there."""
    places = (root, root / "notMNIST")
    archives = (place / ARCHIVE for place in places if (place / ARCHIVE).is_file())
    folders = (place / FOLDER for place in places if (place / FOLDER).is_dir())
    return next(archives, None) or next(folders, None)


def _fetch(into: Path) -> None:
    from torchvision.datasets.utils import download_url

    download_url(URL, into, ARCHIVE, md5=URL_MD5)


def _load(path: Path) -> _Glyphs:
    """Decode what is at `path`, an archive or a folder, and check that it is all the published images.

    Raises:
        DataError: it is not.
    """
    try:
        files = sorted(_archived(path) if path.is_file() else _unpacked(path))
    except (OSError, EOFError, tarfile.TarError, zlib.error) as error:
        raise wrong_file("notmnist", path, f"it cannot be read as a whole: {error}") from error
    glyphs = _decoded(files)
    content = hashlib.sha256(glyphs.pixels.tobytes() + glyphs.labels.tobytes()).hexdigest()
    if content != CONTENT_SHA256:
        found = f"it has {len(glyphs.labels):,} images that can be decoded, the published set {NUM_IMAGES:,}"
        if len(glyphs.labels) == NUM_IMAGES:
            found = f"the SHA-256 sum of its pixels and labels is {content} instead of {CONTENT_SHA256}"
        raise wrong_file("notmnist", path, found)
    return glyphs


def _archived(path: Path) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(path, "r:gz") as archive:
        for member in archive:
            name = "/".join(member.name.split("/")[-3:])
            content = archive.extractfile(member) if _is_glyph(name) and member.isfile() else None
            if content is not None:
                yield name, content.read()


def _unpacked(path: Path) -> Iterator[tuple[str, bytes]]:
    for file in path.glob("?/*"):
        name = f"{FOLDER}/{file.parent.name}/{file.name}"
        if _is_glyph(name):
            yield name, file.read_bytes()


def _is_glyph(name: str) -> bool:
    folder, letter, file = ("//" + name).rsplit("/", 2)
    return folder.endswith(FOLDER) and letter in tuple(LETTERS) and file.endswith(".png")


def _decoded(files: Iterable[tuple[str, bytes]]) -> _Glyphs:
    pixels, labels, skipped = [], bytearray(), []
    for name, content in files:
        try:
            with Image.open(io.BytesIO(content), formats=("PNG",)) as image:
                glyph = image.convert("L").tobytes() if image.size == (SIDE, SIDE) else b""
        except UNDECODABLE:
            skipped.append(name)
            continue
        if glyph:
            pixels.append(glyph)
            labels.append(LETTERS.index(name.split("/")[-2]))
    stacked = np.frombuffer(b"".join(pixels), dtype=np.uint8).reshape(-1, SIDE, SIDE)
    return _Glyphs(stacked, np.frombuffer(bytes(labels), dtype=np.uint8), tuple(skipped))
