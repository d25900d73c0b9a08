"""Any labelled images as a `Split`: tensors, arrays, a Dataset, a DataLoader, a folder or a factory."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import (
    DataLoader,
    RandomSampler,
    SequentialSampler,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

from pytest_robust.data.dataset import Dataset
from pytest_robust.data.image_folder import UNDECODABLE, ImageFolder
from pytest_robust.data.split import INTEGERS, Split
from pytest_robust.errors import DataError, RobustError
from pytest_robust.gate.named import is_named, made_by
from pytest_robust.store.blame import told

#: Images of a folder that are decoded together.
CHUNK = 256
FORMS = (
    "a Dataset or DataLoader of (image, label), a tuple of images and labels, a Split, a folder of images with one "
    "folder per class, or 'module:factory'"
)


def split_of(data: Any, root: Path) -> Split:
    """Labelled images as a `Split`; its order is the order of the data, so that indices mean the same.

    Args:
        data: a `Split`; a `Dataset` (its test images) or an `ImageFolder` of this package; a map-style ``Dataset``
            (``TensorDataset`` included) or a ``DataLoader`` of images and labels; a tuple of images (N, C, H, W) and
            labels (N,), as tensors or arrays; the path of a folder of images, with one folder per class or a
            ``labels.csv``; ``"module:factory"``. A loader that draws at random (shuffled, weighted, of a subset) is
            read in its data set's order, each image once.
        root: the user's folder, from which relative paths and modules are found.

    Raises:
        DataError: it is none of these, or its images or labels break the contract of a `Split`.
    """
    if isinstance(data, (str, Path)):
        return _named(data, root)
    if isinstance(data, Split):
        return _not_empty(data)
    if isinstance(data, Dataset):
        return split_of(data.test, root)
    if isinstance(data, ImageFolder):
        return replace(
            _split(*_joined(((part.x, part.y) for part in data.chunks(CHUNK)), data.name), data.name),
            num_classes=data.num_classes,
        )
    name = type(data.dataset if isinstance(data, DataLoader) else data).__name__
    if isinstance(data, TensorDataset) and len(data.tensors) == 2:
        return _split(data.tensors[0], data.tensors[1], name)
    if isinstance(data, (tuple, list)) and len(data) == 2 and _is_pair(data):
        return _split(data[0], data[1], "images")
    if isinstance(data, DataLoader):
        return _split(*_joined(_batches(data, name), name), name)
    if (
        hasattr(data, "__getitem__")
        and hasattr(data, "__len__")
        and not isinstance(data, (dict, bytes, np.ndarray, Tensor))
    ):
        return _split(*_stacked(_items(data, name), name), name)
    raise DataError(f"{type(data).__name__} is no data to evaluate a model on: give {FORMS}.")


def _is_pair(data: Sequence[Any]) -> bool:
    """Whether two things are images and labels, and not two images with a label each."""
    return isinstance(data, tuple) or all(hasattr(part, "shape") for part in data)


def _named(data: str | Path, root: Path) -> Split:
    if isinstance(data, str) and is_named(data) and not (root / data).exists():
        made = made_by(data, "data", root, DataError)
        # The name that the user gave says more than the type of what the factory made.
        return replace(split_of(made, root), name=data)
    folder = root / Path(data).expanduser()
    if not folder.is_dir():
        near = difflib.get_close_matches(folder.name, _names(folder.parent), n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"give {FORMS}."
        # Not missing data, for which a test is skipped: that is for data sets that have to be fetched.
        raise DataError(f"there is no folder of images {folder}: {hint}")
    listed = ImageFolder.open(folder)
    found = _split(_cat(_decoded(listed.files), torch.stack, folder.name), listed.y, folder.name)
    return replace(found, num_classes=listed.num_classes)


def _names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()] if folder.is_dir() else []


def _decoded(files: Sequence[Path]) -> list[Tensor]:
    """The pixels of image files as they are: grey where all are grey, else in colour."""
    images = []
    for path in files:
        try:
            with Image.open(path) as image:
                images.append(image.convert("L" if image.mode in ("1", "L") else "RGB"))
        except UNDECODABLE as error:
            raise DataError(f"{path} cannot be decoded as an image ({told(error)}): replace it.") from error
    grey = all(image.mode == "L" for image in images)
    return [_image_tensor(image if grey else image.convert("RGB"), "images") for image in images]


def _items(data: Any, name: str) -> Iterator[tuple[Any, Any]]:
    for i in range(len(data)):
        yield _pair(_read(lambda i=i: data[i], f"{name}[{i}]"), f"{name}[{i}]")


def _batches(loader: DataLoader[Any], name: str) -> Iterator[tuple[Any, Any]]:
    iterator, count = iter(_in_order(loader)), 0
    while True:
        batch = _read(lambda: next(iterator, None), f"{name}, batch {count}")
        if batch is None:
            return
        yield _pair(batch, f"{name}, batch {count}")
        count += 1


def _in_order(loader: DataLoader[Any]) -> DataLoader[Any]:
    """A loader that draws at random, or drops the last images, as one of all of them in their order, each once."""
    sampler = getattr(loader.batch_sampler, "sampler", loader.sampler)
    draws = isinstance(sampler, (RandomSampler, WeightedRandomSampler, SubsetRandomSampler))
    drops = isinstance(sampler, SequentialSampler) and bool(getattr(loader.batch_sampler, "drop_last", False))
    if not (draws or drops):
        return loader
    return DataLoader(
        loader.dataset,
        batch_size=loader.batch_size or 1,
        num_workers=loader.num_workers,
        collate_fn=loader.collate_fn,
        sampler=sorted(sampler.indices) if isinstance(sampler, SubsetRandomSampler) else None,
    )


def _read(get: Any, where: str) -> Any:
    try:
        return get()
    except RobustError:
        raise
    except Exception as error:
        raise DataError(f"reading {where} raised {told(error)}.") from error


def _pair(item: Any, where: str) -> tuple[Any, Any]:
    if not isinstance(item, (tuple, list)) or len(item) != 2:
        raise DataError(f"{where} is {type(item).__name__}, but an image and its label are expected: give {FORMS}.")
    return item[0], item[1]


def _joined(batches: Iterable[tuple[Any, Any]], name: str) -> tuple[Tensor, Tensor]:
    images, labels = [], []
    for x, y in batches:
        images.append(_image_tensor(x, name))
        labels.append(_tensor(y, f"{name}: labels"))
    return _cat(images, torch.cat, name), _cat(labels, torch.cat, name)


def _stacked(items: Iterable[tuple[Any, Any]], name: str) -> tuple[Tensor, Tensor]:
    images, labels = [], []
    for x, y in items:
        images.append(_image_tensor(x, name))
        labels.append(_tensor(y, f"{name}: labels"))
    return _cat(images, torch.stack, name), _cat(labels, torch.stack, name)


def _cat(parts: list[Tensor], join: Any, name: str) -> Tensor:
    if not parts:
        raise DataError(f"{name} holds no images: there is nothing to evaluate.")
    try:
        joined: Tensor = join(parts)
    except RuntimeError as error:
        shapes = sorted({str(tuple(part.shape)) for part in parts})
        raise DataError(
            f"{name}: the images or labels have different shapes ({', '.join(shapes[:3])}): resize and crop them alike "
            "in the data set's transform."
        ) from error
    return joined


def _image_tensor(image: Any, name: str) -> Tensor:
    if type(image).__module__.startswith("PIL."):
        from torchvision.transforms.functional import to_tensor

        made: Tensor = to_tensor(image)
        return made
    return _unit(_tensor(image, f"{name}: images"))


def _tensor(value: Any, where: str) -> Tensor:
    try:
        return torch.as_tensor(value).detach().cpu()
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"{where} are {type(value).__name__}, which is no tensor, array or number.") from error


def _unit(images: Tensor) -> Tensor:
    """8-bit pixels as float32 in [0, 1]; other numbers as they are, for `Split` to judge."""
    return images.to(torch.float32).div_(255) if images.dtype == torch.uint8 else images.to(torch.float32)


def _split(x: Any, y: Any, name: str) -> Split:
    images, labels = _unit(_tensor(x, f"{name}: images")), _tensor(y, f"{name}: labels")
    if images.ndim == 3:  # grey images
        images = images.unsqueeze(1)
    if images.ndim == 4 and images.shape[-1] in (1, 3) and images.shape[1] not in (1, 3):
        raise DataError(
            f"{name}: images of shape {tuple(images.shape)} look like (N, H, W, C): permute them to (N, C, H, W)."
        )
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim == 2 or labels.dtype not in (*INTEGERS, torch.bool):
        raise DataError(
            f"{name}: labels are {labels.dtype} of shape {tuple(labels.shape)}, but one whole number per image is "
            "expected: take argmax(1) of one-hot labels."
        )
    if len(images) == 0:
        raise DataError(f"{name} holds no images: there is nothing to evaluate.")
    if labels.ndim == 1 and len(images) != len(labels):
        raise DataError(f"{name}: there are {len(images)} images, but {len(labels)} labels: give one label per image.")
    labels = labels.to(torch.int64)
    return Split(images.contiguous(), labels.contiguous(), max(int(labels.max()) + 1, 1) if len(labels) else 1, name)


def _not_empty(split: Split) -> Split:
    if len(split) == 0:
        raise DataError(f"{split.name} holds no images: there is nothing to evaluate.")
    return split
