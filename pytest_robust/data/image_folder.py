"""An ImageFolder: labelled image files, decoded and cropped when they are asked for, never all in memory."""

from __future__ import annotations

import csv
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import PIL
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as Indexed

from pytest_robust.data.images import chunk_ranges, random_subset
from pytest_robust.data.pixels import split_from_bytes
from pytest_robust.data.split import Split, check_labels, positions
from pytest_robust.errors import DataError
from pytest_robust.store.fingerprint import file_fingerprint, fingerprint

LABELS = "labels.csv"
#: What Pillow raises for a file that is not a whole image.
UNDECODABLE = (OSError, SyntaxError, ValueError, EOFError, zlib.error, Image.DecompressionBombError)
#: Pillow's modes of 16- and 32-bit numbers: converted to RGB, all of them above 255 become white, fractions black.
DEEP = ("I", "F")

Interpolation = Literal["bilinear", "bicubic"]


@dataclass(frozen=True, eq=False, repr=False)
class ImageFolder:
    """Labelled photographs in files; `chunks` gives them as splits of pixels k/255, float32 (n, 3, crop, crop).

    Each image is converted to RGB, resized so that its shorter side has `resize` pixels, and cropped to its middle, by
    torchvision's transforms. Only the chunks under way are in memory: DataLoader workers decode the next one.

    Args:
        files: the images.
        y: their labels, int64 of shape (N,).
        class_names: one per class.
        name: where the images come from, for people ("imagenet/val").
        resize: pixels of the shorter side.
        crop: pixels of both sides of what is cut out.
        interpolation: of the resizing; with antialiasing.
        workers: processes that decode; None is one per CPU thread, and none where there is but one chunk.

    Raises:
        DataError: labels that do not fit, a size that is no whole number, a crop that is larger than the resized image,
            or an interpolation of another name.
    """

    files: tuple[Path, ...]
    y: Tensor
    class_names: tuple[str, ...]
    name: str = "unnamed"
    resize: int = 256
    crop: int = 224
    interpolation: Interpolation = "bilinear"
    workers: int | None = None

    def __post_init__(self) -> None:
        check_labels(self.y, len(self.files), self.num_classes, self.name)
        for what, size in (("resize", self.resize), ("crop", self.crop)):
            if not isinstance(size, int):
                raise DataError(f"{self.name}: {what}={size!r} is no number of pixels: give a whole one.")
        if self.interpolation not in get_args(Interpolation):
            raise DataError(
                f"{self.name}: interpolation={self.interpolation!r} is unknown: choose "
                f"{' or '.join(map(repr, get_args(Interpolation)))}."
            )
        if not 1 <= self.crop <= self.resize:
            raise DataError(
                f"{self.name}: a crop of {self.crop} pixels cannot be cut out of images whose shorter side has "
                f"{self.resize}: choose a crop of 1 or more, and resize at least as large."
            )

    @classmethod
    def open(
        cls,
        root: Path | str,
        *,
        name: str | None = None,
        resize: int = 256,
        crop: int = 224,
        interpolation: Interpolation = "bilinear",
        workers: int | None = None,
    ) -> ImageFolder:
        """The images of a folder: with a ``labels.csv`` beside them, or in one sub-folder per class as torchvision's.

        ``labels.csv`` has the columns ``file`` and ``class_index``, and ``name`` (of the class) if there are any.
        Sub-folders are classes in the order of their names. No image is read here.

        Raises:
            DataError: neither layout, a table that cannot be read, or a file in it that is not there.
        """
        folder = Path(root).expanduser()
        found = _tabled(folder) if (folder / LABELS).is_file() else _sorted_by_class(folder)
        files, labels, names = found
        y = torch.tensor(labels, dtype=torch.int64)
        return cls(files, y, names, name or folder.name, resize, crop, interpolation, workers)

    def __len__(self) -> int:
        return len(self.files)

    def __repr__(self) -> str:
        """Name, size and shape."""
        return f"ImageFolder({self.name}: {len(self)} images {self.input_shape}, {self.num_classes} classes)"

    @property
    def num_classes(self) -> int:
        """How many classes the labels count."""
        return len(self.class_names)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        return 3, self.crop, self.crop

    @cached_property
    def fingerprint(self) -> str:
        """Of the files' contents, the labels, the transforms and the versions of the libraries that decode.

        Sizes and dates would be cheaper, but a file can change and keep both. Reading a file is many times cheaper
        than decoding it, and is done once per process. What is behind two names counts by its content.
        """
        try:
            contents = [file_fingerprint(path) for path in self.files]
        except OSError as error:
            raise DataError(f"{self.name}: {error.filename} cannot be read ({error.strerror}).") from error
        transforms = [self.resize, self.crop, self.interpolation, PIL.__version__, version("torchvision")]
        return fingerprint(["image folder", 1, contents, self.y, self.num_classes, transforms])

    def subset(self, index: Tensor | Sequence[int], name: str | None = None) -> ImageFolder:
        """The images at `index` (positions 0 .. N - 1, or a bool mask of shape (N,)), in that order; reads none.

        Raises:
            DataError: a position that no image has, or a mask of another length.
        """
        picked = positions(index, len(self), self.name).cpu()
        files = tuple(self.files[i] for i in picked.tolist())
        return replace(self, files=files, y=self.y[picked], name=name or self.name)

    def sample(self, size: int, seed: int) -> ImageFolder:
        """`size` images drawn without replacement, all of them if there are fewer; the same seed draws the same.

        Raises:
            DataError: `size` is negative.
        """
        return self.subset(*random_subset(len(self), size, seed, self.name))

    def chunks(self, size: int) -> Iterator[Split]:
        """All images in order, as splits in memory of at most `size` images.

        Raises:
            DataError: `size` is not a positive number, or a file is no image.
        """
        ranges = chunk_ranges(len(self), size, self.name)
        workers = min(torch.get_num_threads() if self.workers is None else self.workers, len(ranges) - 1)
        decoder = _Decoder(tuple(map(str, self.files)), ranges, self.resize, self.crop, self.interpolation)
        loader: DataLoader[_Pixels] = DataLoader(
            decoder,
            batch_size=None,
            num_workers=max(0, workers),
            # Arrays travel through pipes; tensors would take shared memory, of which containers have little.
            collate_fn=_as_it_is,
            prefetch_factor=1 if workers > 0 else None,
            generator=torch.Generator(),  # or else the loader draws from the caller's random numbers
        )
        for part, pixels in zip(ranges, loader, strict=True):
            if isinstance(pixels, str):
                raise DataError(f"{self.name}: {pixels}")
            where = f"{self.name}[{part.start}:{part.stop}]"
            yield split_from_bytes(torch.from_numpy(pixels), self.y[part.start : part.stop], self.num_classes, where)


#: uint8 (n, 3, crop, crop), or a sentence that says what is wrong.
_Pixels = np.ndarray | str


@dataclass(frozen=True)
class _Decoder(Indexed[_Pixels]):
    """What the loader's workers run: from a chunk's number to its pixels.

    An error is returned and not raised, because the loader would wrap it into a page of its own traceback.
    """

    files: tuple[str, ...]
    ranges: list[range]
    resize: int
    crop: int
    interpolation: Interpolation

    def __len__(self) -> int:
        return len(self.ranges)

    def __getitem__(self, number: int) -> _Pixels:
        from torchvision import transforms

        mode = transforms.InterpolationMode(self.interpolation)
        cut = transforms.Compose([transforms.Resize(self.resize, mode), transforms.CenterCrop(self.crop)])
        part = self.ranges[number]
        pixels = np.empty((len(part), 3, self.crop, self.crop), dtype=np.uint8)
        for row, position in enumerate(part):
            path = self.files[position]
            try:
                with Image.open(path) as image:
                    if image.mode.startswith(DEEP):
                        return _too_deep(path, image.mode)
                    pixels[row] = np.asarray(cut(image.convert("RGB"))).transpose(2, 0, 1)
            except UNDECODABLE as error:
                unknown = isinstance(error, UnidentifiedImageError)
                reason = "no format that Pillow knows" if unknown else " ".join(str(error).split())
                return f"{path} cannot be decoded as an image ({reason}): replace it, or take it out of the folder."
        return pixels


def _too_deep(path: str, mode: str) -> str:
    return (
        f"{path} has pixels of more than 8 bits (Pillow's mode {mode}), and which of their levels are black and white "
        "is yours to choose: save it with 8 bits."
    )


def _as_it_is(pixels: Any) -> Any:
    return pixels


_Found = tuple[tuple[Path, ...], list[int], tuple[str, ...]]


def _tabled(folder: Path) -> _Found:
    """What ``labels.csv`` lists, in its order."""
    path = folder / LABELS
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:  # Excel begins a file with a byte order mark
            rows = list(csv.DictReader(file))
        labels = [int(row["class_index"]) for row in rows]
        files = tuple(folder / row["file"] for row in rows)
    except KeyError as error:
        raise DataError(f"{path} has no column {error}: it needs file and class_index{_separated(rows)}.") from error
    except (OSError, ValueError, TypeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as a table of file and class_index ({error}).") from error
    if not rows:
        raise DataError(f"{path} lists no image.")
    absent = [file.name for file in files if not file.is_file()]
    if absent:
        raise DataError(f"{path} lists {len(absent)} files that are not beside it, {absent[0]} first.")
    names = _names(path, labels, rows)
    return files, labels, tuple(names.get(i, str(i)) for i in range(max(labels) + 1))


def _separated(rows: Sequence[Mapping[str, str]]) -> str:
    """What to do about a table that another character than the comma separates."""
    other = next((each for each in (";", "\t") if each in "".join(filter(None, rows[0]))), None)
    return f", separated by commas and not by {other!r}" if other else ""


def _names(path: Path, labels: Sequence[int], rows: Sequence[Mapping[str, str]]) -> dict[int, str]:
    """The classes' names, of those that have one."""
    names: dict[int, str] = {}
    for label, row in zip(labels, rows, strict=True):
        name = row.get("name")
        if name and names.setdefault(label, name) != name:
            raise DataError(
                f"{path} calls class {label} both {names[label]!r} and {name!r}: give every class_index one name."
            )
    return names


def _sorted_by_class(folder: Path) -> _Found:
    """One sub-folder per class, as torchvision's own ImageFolder reads it."""
    from torchvision.datasets import ImageFolder as Layout

    try:
        found = Layout(str(folder))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DataError(
            f"{folder} is no folder of labelled images ({' '.join(str(error).split())}): it needs a {LABELS}, or one "
            "sub-folder with images per class."
        ) from error
    return tuple(Path(path) for path, _ in found.samples), found.targets, tuple(found.classes)
