"""The example of a user's own family, run on made-up weights in the formats that it reads."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from pytest_robust.bench.bench import Bench
from pytest_robust.bench.settings import Settings
from pytest_robust.errors import FamilyError, ModelError

EXAMPLE = Path(__file__).parents[2] / "examples" / "own-family"


def quantised(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights as bytes with a scale and an offset, biases as they are."""
    stored = {}
    for key, value in state.items():
        if key.endswith(".weight"):
            scale = (value.max() - value.min()).clamp(min=1e-3) / 255
            zero = (-value.min() / scale).round()
            stored[f"{key}.q"] = (value / scale + zero).round().clamp(0, 255).to(torch.uint8)
            stored[f"{key}.scale"], stored[f"{key}.zp"] = scale, zero
        else:
            stored[key] = value
    return stored


@pytest.fixture(scope="module")
def models():
    """The example's module, imported as a user's test would."""
    sys.path.insert(0, str(EXAMPLE))
    try:
        import models

        yield models
    finally:
        sys.path.remove(str(EXAMPLE))
        for name in ("models", "networks"):
            sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def weights(models, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    for name, build, *_ in models.NETWORKS:
        state = build().state_dict()
        floats = {key: value.half() if value.is_floating_point() else value for key, value in state.items()}
        save_file(quantised(state) if name.startswith("mobilenet") else floats, folder / f"{name}.safetensors")
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three pictures of three of the 1,000 classes."""
    root = tmp_path_factory.mktemp("data")
    (root / "imagenet-sample").mkdir()
    rows = ["file,class_index,name"]
    for number, label in enumerate((0, 500, 999)):
        noise = np.random.RandomState(number).randint(0, 256, (8, 9, 3)).astype(np.uint8)
        Image.fromarray(noise).resize((288, 256)).save(root / "imagenet-sample" / f"{number}.png")
        rows.append(f"{number}.png,{label},thing {label}")
    (root / "imagenet-sample" / "labels.csv").write_text("\n".join(rows))
    return root


@pytest.fixture
def bench(weights: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setenv("SMALL_IMAGENET_WEIGHTS", str(weights))
    family = f"{EXAMPLE / 'models.py'}:models"
    return Bench(Settings(dataset="imagenet", data_root=data, device="cpu", cache=tmp_path, family=family))


def test_the_family_is_the_eight_networks_on_one_crop(bench, models):
    family = bench.family()
    assert list(family.members) == [name for name, *_ in models.NETWORKS]
    assert (family.num_classes, family.input_shape) == (1000, (3, 224, 224))
    assert set(family.groups.values()) == {"mobilenet", "squeezenet", "efficientnet"}
    assert min(family.published.values()) == 0.395
    predicted = bench.predictions(family)
    assert {tuple(labels.shape) for labels in predicted.values()} == {(3,)}


def test_bytes_are_the_weights_that_they_stand_for(models, weights):
    _, build, *_ = models.NETWORKS[0]
    torch.manual_seed(0)
    original, read = build(), models.loaded(build(), weights / "mobilenet_v1_025_128.safetensors")
    for (key, found), (_, wanted) in zip(read.state_dict().items(), original.state_dict().items(), strict=True):
        assert float((found - wanted).abs().max()) <= float((wanted.max() - wanted.min()) / 255), key


def test_one_file_that_is_missing_ends_it(bench, weights, tmp_path, monkeypatch):
    part = tmp_path / "part"
    part.mkdir()
    for path in weights.iterdir():
        if "lite1" not in path.name:
            (part / path.name).symlink_to(path)
    monkeypatch.setenv("SMALL_IMAGENET_WEIGHTS", str(part))
    with pytest.raises(ModelError, match=r"efficientnet_lite1\.safetensors cannot be read"):
        bench.family()


def test_the_examples_own_tests_pass(weights, data, tmp_path):
    command = [sys.executable, "-m", "pytest", str(EXAMPLE), "--family=small-imagenet", "--dataset=imagenet"]
    run = subprocess.run(
        [*command, f"--data-root={data}", f"--robust-cache={tmp_path}", "-q", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        env={**os.environ, "SMALL_IMAGENET_WEIGHTS": str(weights)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "2 passed" in run.stdout


def test_without_the_weights_the_variable_to_set_is_named(models, monkeypatch):
    monkeypatch.delenv("SMALL_IMAGENET_WEIGHTS", raising=False)
    with pytest.raises(FamilyError, match="SMALL_IMAGENET_WEIGHTS is not set: set it to the folder"):
        models.models()
