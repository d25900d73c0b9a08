"""Streamed images: the same pixels as torchvision's transforms give one by one, in order, and only when asked for."""

from __future__ import annotations

import csv
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms

from pytest_robust.data.image_folder import ImageFolder
from pytest_robust.data.split import Split
from pytest_robust.errors import DataError

SIZES = [(40, 30), (30, 40), (33, 33), (64, 20), (24, 24), (25, 70), (48, 31)]


def photograph(size: tuple[int, int], seed: int, mode: str = "RGB") -> Image.Image:
    """Smooth random colours, so that resizing matters."""
    noise = np.random.RandomState(seed).randint(0, 256, (5, 6, 3)).astype(np.uint8)
    return Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC).convert(mode)


@pytest.fixture
def sorted_folder(tmp_path: Path) -> Path:
    """Seven photographs in three class folders, one of them grey, one transparent."""
    modes = ["RGB", "L", "RGBA", "RGB", "RGB", "RGB", "RGB"]
    for number, (size, mode) in enumerate(zip(SIZES, modes, strict=True)):
        path = tmp_path / "photos" / f"class_{number % 3}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        photograph(size, number, mode).save(path)
    return tmp_path / "photos"


@pytest.fixture
def tabled_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "flat"
    folder.mkdir()
    rows = [("a.png", 2, "cat"), ("b.png", 0, "dog"), ("c.png", 2, "cat")]
    for number, (file, _, _) in enumerate(rows):
        photograph((30, 26), number).save(folder / file)
    with (folder / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("file", "class_index", "name"), *rows])
    return folder


def reference(images: ImageFolder) -> torch.Tensor:
    """One image after the other."""
    cut = transforms.Compose([transforms.Resize(images.resize), transforms.CenterCrop(images.crop)])
    return torch.stack([transforms.functional.to_tensor(cut(Image.open(path).convert("RGB"))) for path in images.files])


@pytest.mark.parametrize(("size", "workers"), [(1, 0), (3, 0), (7, 0), (100, None), (2, 2)])
def test_chunks_are_the_images_in_order_with_exact_8_bit_pixels(sorted_folder, size, workers):
    images = ImageFolder.open(sorted_folder, resize=24, crop=20, workers=workers)
    chunks = list(images.chunks(size))
    assert all(isinstance(chunk, Split) and len(chunk) <= size for chunk in chunks)
    x, y = torch.cat([chunk.x for chunk in chunks]), torch.cat([chunk.y for chunk in chunks])
    assert torch.equal(x, reference(images))
    assert torch.equal((x * 255).round() / 255, x)
    assert y.tolist() == images.y.tolist() == [0, 0, 0, 1, 1, 2, 2]
    assert images.class_names == ("class_0", "class_1", "class_2")


def test_a_table_of_labels_is_read_in_its_order(tabled_folder):
    images = ImageFolder.open(tabled_folder, name="mine", resize=24, crop=20)
    assert [path.name for path in images.files] == ["a.png", "b.png", "c.png"]
    assert (images.y.tolist(), images.class_names) == ([2, 0, 2], ("dog", "1", "cat"))
    assert repr(images) == "ImageFolder(mine: 3 images (3, 20, 20), 3 classes)"
    assert next(iter(images.chunks(3))).name == "mine[0:3]"


def test_an_image_is_read_when_its_chunk_is_asked_for(sorted_folder):
    images = ImageFolder.open(sorted_folder, resize=24, crop=20, workers=0)
    images.files[4].write_bytes(b"no image")
    chunks = images.chunks(2)
    assert len(next(chunks)) == len(next(chunks)) == 2
    with pytest.raises(DataError, match=r"4\.png cannot be decoded as an image \(no format.*: replace it"):
        next(chunks)


@pytest.mark.parametrize("content", [b"", "half"])
def test_a_damaged_file_is_one_sentence_from_a_worker_too(sorted_folder, content):
    images = ImageFolder.open(sorted_folder, resize=24, crop=20, workers=2)
    path = images.files[3]
    path.write_bytes(path.read_bytes()[:60] if content == "half" else content)
    with pytest.raises(DataError, match="cannot be decoded") as raised:
        list(images.chunks(2))
    assert "Traceback" not in str(raised.value)
    assert str(path) in str(raised.value)


def test_reading_draws_none_of_the_callers_random_numbers(sorted_folder):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    list(ImageFolder.open(sorted_folder, resize=24, crop=20).chunks(2))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_subset_is_a_subset_of_the_split(sorted_folder):
    images = ImageFolder.open(sorted_folder, resize=24, crop=20)
    whole = next(iter(images.chunks(7)))
    for index in ([5, 0, 3], torch.tensor([True, False, True, False, False, False, True]), []):
        ours, theirs = images.subset(index), whole.subset(index)
        assert ours.y.tolist() == theirs.y.tolist()
        assert all(torch.equal(chunk.x, theirs.x) for chunk in ours.chunks(7))
    assert images.sample(3, seed=4).y.tolist() == whole.sample(3, seed=4).y.tolist()
    with pytest.raises(DataError, match="count them from zero"):
        images.subset([7])
    with pytest.raises(DataError, match="ask for 0 or more"):
        images.sample(-1, seed=0)


def test_a_fingerprint_is_of_the_content_and_not_of_the_place(sorted_folder, tmp_path):
    images = ImageFolder.open(sorted_folder, resize=24, crop=20)
    moved = ImageFolder.open(shutil.copytree(sorted_folder, tmp_path / "moved"), resize=24, crop=20)
    assert moved.fingerprint == images.fingerprint


def test_a_fingerprint_sees_a_byte_that_changes_neither_size_nor_date(sorted_folder, tmp_path):
    images = ImageFolder.open(sorted_folder, resize=24, crop=20)
    copy = ImageFolder.open(shutil.copytree(sorted_folder, tmp_path / "copy"), resize=24, crop=20)
    path, before = copy.files[2], copy.files[2].stat()
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert copy.fingerprint != images.fingerprint
    again = ImageFolder.open(sorted_folder, resize=24, crop=20)
    shutil.copy2(path, again.files[2])  # with its date
    assert again.fingerprint == copy.fingerprint, "in the same process too"


def test_a_fingerprint_counts_order_labels_and_transforms(sorted_folder):
    images = ImageFolder.open(sorted_folder, resize=24, crop=20)
    others = [
        images.subset([1, 0, 2, 3, 4, 5, 6]),
        images.subset([0, 1]),
        ImageFolder.open(sorted_folder, resize=23, crop=20),
        ImageFolder.open(sorted_folder, resize=24, crop=21),
        ImageFolder.open(sorted_folder, resize=24, crop=20, interpolation="bicubic"),
        ImageFolder(images.files, images.y.flip(0), images.class_names, resize=24, crop=20),
    ]
    assert len({images.fingerprint, *(other.fingerprint for other in others)}) == len(others) + 1


def test_a_file_that_vanished_is_named_by_the_fingerprint(sorted_folder):
    images = ImageFolder.open(sorted_folder, resize=24, crop=20)
    images.files[0].unlink()
    with pytest.raises(DataError, match=r"0\.png cannot be read"):
        _ = images.fingerprint


def test_what_is_no_folder_of_labelled_images_is_said(tmp_path, tabled_folder):
    with pytest.raises(DataError, match=r"needs a labels\.csv, or one sub-folder"):
        ImageFolder.open(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"needs a labels\.csv, or one sub-folder"):
        ImageFolder.open(tmp_path / "empty")
    with pytest.raises(DataError, match="choose a crop of 1 or more, and resize at least as large"):
        ImageFolder.open(tabled_folder, resize=10, crop=20)
    with pytest.raises(DataError, match="ask for 1 or more"):
        next(ImageFolder.open(tabled_folder).chunks(0))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("file,label\na.png,0\n", "has no column 'class_index': it needs file and class_index"),
        ("file,class_index\na.png,one\n", "cannot be read as a table"),
        ("file,class_index\n", "lists no image"),
        ("file,class_index\na.png,0\ngone.png,1\n", r"lists 1 files that are not beside it, gone\.png first"),
        ("file,class_index\na.png,-1\n", "labels must be in"),
        ("file;class_index\na.png;0\n", "has no column 'class_index': .*, separated by commas and not by ';'"),
        ("file,class_index,name\na.png,0,cat\nb.png,0,dog\n", "calls class 0 both 'cat' and 'dog': give every"),
    ],
)
def test_a_table_that_cannot_be_right_is_said(tabled_folder, table, message):
    (tabled_folder / "labels.csv").write_text(table)
    with pytest.raises(DataError, match=message):
        ImageFolder.open(tabled_folder)


def test_a_table_that_excel_has_written_is_read(tabled_folder):
    path = tabled_folder / "labels.csv"
    path.write_text(path.read_text(), encoding="utf-8-sig")
    assert ImageFolder.open(tabled_folder).y.tolist() == [2, 0, 2]


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ({"interpolation": "cubic"}, "interpolation='cubic' is unknown: choose 'bilinear' or 'bicubic'"),
        ({"resize": 32.5, "crop": 20}, r"resize=32\.5 is no number of pixels"),
        ({"crop": "20"}, "crop='20' is no number of pixels"),
    ],
)
def test_transforms_that_cannot_be_are_said_before_anything_is_decoded(tabled_folder, argument, message):
    with pytest.raises(DataError, match=message):
        ImageFolder.open(tabled_folder, **argument)


@pytest.mark.parametrize(
    ("dtype", "suffix"), [("uint16", "png"), ("uint16", "tiff"), ("int32", "tiff"), ("float32", "tiff")]
)
def test_pixels_of_more_than_8_bits_are_no_white_image(tabled_folder, dtype, suffix):
    path = tabled_folder / f"deep.{suffix}"
    Image.fromarray(np.linspace(0, 1 if dtype == "float32" else 65535, 900).reshape(30, 30).astype(dtype)).save(path)
    (tabled_folder / "labels.csv").write_text(f"file,class_index\n{path.name},0\n")
    with pytest.raises(DataError, match=rf"deep\.{suffix} has pixels of more than 8 bits .* save it with 8 bits"):
        next(ImageFolder.open(tabled_folder, resize=24, crop=20).chunks(1))


@pytest.mark.parametrize("size", [1, 2, 5, 9])
def test_a_split_in_memory_comes_in_the_same_chunks(size):
    split = Split(torch.rand(5, 1, 2, 2), torch.arange(5), 5, "five")
    chunks = list(split.chunks(size))
    assert [len(chunk) for chunk in chunks] == [size] * (5 // size) + ([5 % size] if 5 % size else [])
    assert torch.equal(torch.cat([chunk.x for chunk in chunks]), split.x)
    assert torch.equal(torch.cat([chunk.y for chunk in chunks]), split.y)
    assert chunks[0].name == f"five[0:{min(size, 5)}]"
    with pytest.raises(DataError, match="ask for 1 or more"):
        next(split.chunks(0))
