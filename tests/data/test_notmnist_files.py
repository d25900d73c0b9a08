"""notMNIST from an archive or a folder: broken files alone are left out, and no image is on both sides."""

from __future__ import annotations

import io
import re
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from pytest_robust.data import notmnist as module
from pytest_robust.data.dataset import Dataset, DataSource
from pytest_robust.data.notmnist import notmnist
from pytest_robust.errors import DataError, MissingDataError


def load(root: Path) -> Dataset:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return notmnist(DataSource(root))


def labelled(dataset: Dataset) -> Counter[tuple[bytes, int]]:
    x, y = torch.cat([dataset.train.x, dataset.test.x]), torch.cat([dataset.train.y, dataset.test.y])
    return Counter((image.numpy().tobytes(), int(label)) for image, label in zip(x, y, strict=True))


def test_exactly_the_broken_files_are_left_out(glyph_files: Any, tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="notmnist: 4 files of .* cannot be decoded and are left out") as caught:
        dataset = notmnist(DataSource(glyph_files.write_folder(tmp_path)))
    assert len(caught) == 1
    assert "\n" not in str(caught[0].message)
    assert list(dataset.skipped) == glyph_files.broken
    expected: Counter[tuple[bytes, int]] = Counter()
    for name, content in glyph_files.files.items():
        if name not in glyph_files.broken:
            pixels = np.asarray(Image.open(io.BytesIO(content))).astype(np.float32) / np.float32(255)
            expected[pixels.tobytes(), "ABCDEFGHIJ".index(name.split("/")[1])] += 1
    assert labelled(dataset) == expected


def test_whole_files_are_loaded_without_a_warning(glyph_files: Any, tmp_path: Path) -> None:
    for name in glyph_files.broken:
        del glyph_files.files[name]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert notmnist(DataSource(glyph_files.write_folder(tmp_path))).skipped == ()


def test_an_archive_and_a_folder_give_the_same_bits_wherever_they_lie(glyph_files: Any, tmp_path: Path) -> None:
    folder = load(glyph_files.write_folder(tmp_path / "a"))
    nested = load(glyph_files.write_folder(tmp_path / "b/notMNIST").parent)
    archive = load(glyph_files.write_archive(tmp_path / "c"))
    nested_archive = load(glyph_files.write_archive(tmp_path / "d", "notMNIST"))
    (tmp_path / "e").mkdir()
    (tmp_path / "e/notMNIST_small.tar.gz").write_bytes(glyph_files.archive(prefix="./"))
    dotted = load(tmp_path / "e")
    for other in (nested, archive, nested_archive, dotted):
        assert (other.train.fingerprint, other.test.fingerprint) == (folder.train.fingerprint, folder.test.fingerprint)
        assert other.skipped == folder.skipped


def test_identical_images_are_on_one_side_and_the_sizes_are_kept(glyph_files: Any, tmp_path: Path) -> None:
    dataset = load(glyph_files.write_folder(tmp_path))
    assert (len(dataset.train), len(dataset.test)) == (40, 21)
    sides = [{image.numpy().tobytes() for image in split.x} for split in (dataset.train, dataset.test)]
    assert not sides[0] & sides[1]
    assert len(sides[0]) + len(sides[1]) == 49


@pytest.mark.parametrize("seed", range(20))
def test_groups_stay_together_under_every_seed(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.RandomState(seed)
    kinds = draw.randint(0, 256, (60, 28, 28)).astype(np.uint8)
    pixels = kinds[np.concatenate([np.arange(60), draw.randint(0, 10, 40)])]
    monkeypatch.setattr(module, "TRAIN_SIZE", 55)
    rows = module._training_rows(pixels, np.random.RandomState(seed))
    assert rows.sum() == 55
    train, test = ({image.tobytes() for image in pixels[side]} for side in (rows, ~rows))
    assert not train & test


def test_the_split_is_random_and_not_in_the_order_of_the_letters(glyph_files: Any, tmp_path: Path) -> None:
    dataset = load(glyph_files.write_folder(tmp_path))
    for split in (dataset.train, dataset.test):
        assert split.y.tolist() != sorted(split.y.tolist())


def test_other_files_in_the_folder_are_no_glyphs(glyph_files: Any, tmp_path: Path) -> None:
    root = glyph_files.write_folder(tmp_path)
    before = load(root)
    some = glyph_files.files["notMNIST_small/A/00.png"]
    for name in ("README.txt", "K/00.png", "A/notes.txt", "AB/00.png", "A/deep/00.png"):
        (root / "notMNIST_small" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "notMNIST_small" / name).write_bytes(some)
    after = load(root)
    assert (after.train.fingerprint, after.skipped) == (before.train.fingerprint, before.skipped)


def test_a_missing_data_set_names_the_options_that_would_get_it(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"notmnist: notMNIST_small.tar.gz or .*--data-root DIR.*--download"):
        notmnist(DataSource(tmp_path))


def test_a_broken_archive_is_named_and_kept(glyph_files: Any, tmp_path: Path) -> None:
    path = tmp_path / "notMNIST_small.tar.gz"
    whole = glyph_files.archive()
    for content in (whole[: len(whole) // 2], b"", b"<!DOCTYPE html><html></html>"):
        path.write_bytes(content)
        words = rf"notmnist: {re.escape(str(path))} .*cannot be read as a whole.*--download"
        with pytest.raises(DataError, match=words) as caught:
            load(tmp_path)
        assert "\n" not in str(caught.value)
        assert path.read_bytes() == content


def test_an_incomplete_folder_is_no_data_set(glyph_files: Any, tmp_path: Path) -> None:
    root = glyph_files.write_folder(tmp_path)
    (root / "notMNIST_small/D/03.png").unlink()
    with pytest.raises(DataError, match=r"notMNIST_small .*60 images that can be decoded, the published set 61"):
        load(root)


def test_one_other_pixel_is_noticed(glyph_files: Any, tmp_path: Path) -> None:
    root = glyph_files.write_folder(tmp_path)
    path = root / "notMNIST_small/D/03.png"
    pixels = np.array(Image.open(path))
    pixels[3, 3] ^= 1
    Image.fromarray(pixels).save(path)
    with pytest.raises(DataError, match="SHA-256 sum of its pixels and labels is"):
        load(root)


def test_an_image_of_another_size_is_noticed(glyph_files: Any, tmp_path: Path) -> None:
    root = glyph_files.write_folder(tmp_path)
    Image.new("L", (32, 32)).save(root / "notMNIST_small/D/03.png")
    with pytest.raises(DataError, match=r"60 images that can be decoded"):
        load(root)
