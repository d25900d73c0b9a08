"""The example's eight networks with their real weights, where ROBUST_SMALL_IMAGENET_WEIGHTS names a folder of them.

The folder holds ``models.json`` too: each network's input size, crop and top-1 accuracy on the sample's 1,000 images.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch

from pytest_robust.bench.bench import Bench
from pytest_robust.bench.settings import Settings
from pytest_robust.data.image_folder import ImageFolder
from pytest_robust.models.family import Family
from pytest_robust.models.resized import ResizedInput

ROOT, WEIGHTS = os.environ.get("ROBUST_DATA_ROOT"), os.environ.get("ROBUST_SMALL_IMAGENET_WEIGHTS")
EXAMPLE = Path(__file__).parents[2] / "examples" / "own-family" / "models.py"
pytestmark = [
    pytest.mark.realdata,
    pytest.mark.slow,
    pytest.mark.skipif(
        not (ROOT and WEIGHTS),
        reason="ROBUST_DATA_ROOT or ROBUST_SMALL_IMAGENET_WEIGHTS is not set: see docs/families.md",
    ),
]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    settings = Settings(dataset="imagenet", data_root=Path(str(ROOT)), cache=tmp_path_factory.mktemp("cache"))
    return Bench(settings)


@pytest.fixture(scope="module")
def family(bench: Bench) -> Family:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SMALL_IMAGENET_WEIGHTS", str(WEIGHTS))
        return bench.family(f"{EXAMPLE}:models")


@pytest.fixture(scope="module")
def about() -> dict:
    return json.loads((Path(str(WEIGHTS)) / "models.json").read_text(encoding="utf-8"))["models"]


def test_networks_see_their_own_size_as_their_makers_measured_them(family: Family, about: dict) -> None:
    """Each on crops of its own size, without any resizing inside."""
    for name, classifier in family.members.items():
        size = about[name]["input"]
        inner = classifier.network
        network = inner.network if isinstance(inner, ResizedInput) else inner
        images = ImageFolder.open(
            Path(str(ROOT)) / "imagenet-sample",
            resize=round(size / about[name]["crop"]),
            crop=size,
            interpolation="bilinear" if size <= 227 else "bicubic",
        )
        with torch.no_grad():
            right = sum(
                int((network(c.x.to(classifier.device)).argmax(1).cpu() == c.y).sum()) for c in images.chunks(64)
            )
        assert abs(100 * right / len(images) - about[name]["measured_top1"]) <= 1, name
