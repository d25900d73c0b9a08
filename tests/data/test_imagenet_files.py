"""ImageNet's test images from small made-up folders: both layouts, streamed, and nothing to train on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pytest_robust.bench.bench import Bench
from pytest_robust.bench.settings import Settings
from pytest_robust.data import imagenet as imagenet_module
from pytest_robust.data import streamed
from pytest_robust.data.dataset import DataSource
from pytest_robust.data.imagenet import imagenet
from pytest_robust.errors import DataError, MissingDataError


@pytest.fixture
def three_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imagenet_module, "NUM_CLASSES", 3)


def picture(path: Path, shade: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((260, 300, 3), shade, dtype=np.uint8)).save(path)


def validation(root: Path, classes: int = 3) -> Path:
    for label in range(classes):
        picture(root / "imagenet" / "val" / f"n{label:04}" / f"{label}.JPEG", 60 * label)
    return root


def sample(root: Path) -> Path:
    for label in range(3):
        picture(root / "imagenet-sample" / f"{label}.webp", 50 * label)
    rows = [f"n{label:04},{label},thing {label},{label}.webp" for label in range(3)]
    (root / "imagenet-sample" / "labels.csv").write_text("\n".join(["wnid,class_index,name,file", *rows]))
    return root


@pytest.mark.usefixtures("three_classes")
def test_the_validation_folder_goes_before_the_sample(tmp_path):
    both = imagenet(DataSource(validation(sample(tmp_path))))
    assert (both.test_images.name, both.class_names) == ("imagenet/val", ("n0000", "n0001", "n0002"))
    assert (both.num_classes, both.input_shape) == (3, (3, 224, 224))
    alone = imagenet(DataSource(sample(tmp_path / "alone")))
    assert (alone.test_images.name, alone.class_names) == ("imagenet/sample", ("thing 0", "thing 1", "thing 2"))
    assert [len(chunk) for chunk in alone.test_images.chunks(2)] == [2, 1]


@pytest.mark.usefixtures("three_classes")
def test_a_bench_streams_the_images_or_holds_them_and_trains_nothing(tmp_path):
    settings = Settings(dataset="imagenet", data_root=sample(tmp_path), device="cpu", cache=tmp_path / "cache")
    bench = Bench(settings)
    assert torch.equal(bench.test_split.x, next(bench.test_images.chunks(3)).x)
    assert bench.test_split.y.tolist() == [0, 1, 2]
    assert len(bench.test_sample(2)) == 2
    for ask in (lambda: bench.train_split, lambda: bench.classifier, lambda: bench.dataset.train):
        with pytest.raises(DataError, match="has test images only, so nothing can be trained on it"):
            ask()


@pytest.mark.usefixtures("three_classes")
def test_images_that_would_fill_the_memory_are_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(streamed, "MOST_BYTES", 3 * 4 * 3 * 224 * 224)
    dataset = imagenet(DataSource(sample(tmp_path)))
    assert len(dataset.test) == 3, "just small enough"
    monkeypatch.setattr(streamed, "MOST_BYTES", 3 * 4 * 3 * 224 * 224 - 1)
    with pytest.raises(DataError, match=r"imagenet/sample: 3 images would take .* GiB of memory: read them with"):
        _ = dataset.test


def test_missing_folders_name_what_would_do_and_that_no_download_will(tmp_path):
    for download in (False, True):
        with pytest.raises(MissingDataError, match=r"neither imagenet/val/ nor imagenet-sample/.*cannot be downloaded"):
            imagenet(DataSource(tmp_path, download=download))


def test_a_folder_without_all_classes_is_refused(tmp_path):
    with pytest.raises(DataError, match="has 3 classes instead of 1000, so that labels would not be those"):
        imagenet(DataSource(validation(tmp_path)))
