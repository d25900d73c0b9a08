"""torchvision's pretrained networks: downloaded only when asked, checked, and kept as safetensors."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
import torchvision
from safetensors.torch import load_file, save_file

from pytest_robust.bench.imagenet_families import PAPER, SMALL
from pytest_robust.data.dataset import DataSource
from pytest_robust.errors import DataError, MissingDataError, ModelError
from pytest_robust.models import torchvision_weights as module
from pytest_robust.models.resized import ResizedInput
from pytest_robust.models.torchvision_weights import FOLDER, pretrained, published_accuracy, weights_url

NAME = "squeezenet1_1"


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file as torchvision publishes them, at a file URL in place of the real one."""
    torch.manual_seed(0)
    plain = tmp_path / "published.pth"
    torch.save(torchvision.models.get_model(NAME, weights=None).state_dict(), plain)
    path = tmp_path / f"{NAME}-{hashlib.sha256(plain.read_bytes()).hexdigest()[:8]}.pth"
    plain.rename(path)
    monkeypatch.setattr(module, "weights_url", lambda _: path.as_uri())
    return path


def test_without_a_download_the_error_names_the_file_and_the_options(tmp_path):
    wanted = f"{FOLDER}/{NAME}.safetensors"
    with pytest.raises(MissingDataError, match=f"imagenet-small: {wanted} is not.*--data-root DIR.*--download"):
        pretrained(NAME, DataSource(tmp_path), "imagenet-small")
    assert list(tmp_path.iterdir()) == []


def test_a_download_is_converted_and_the_pickle_is_not_kept(tmp_path, published):
    root = tmp_path / "data"
    first = pretrained(NAME, DataSource(root, download=True), "imagenet-small")
    files = [path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()]
    assert [file for file in files if not file.endswith(".lock")] == [f"{FOLDER}/{NAME}.safetensors"]
    original = torch.load(published, weights_only=True)
    assert all(torch.equal(first.network.state_dict()[key], value) for key, value in original.items())
    published.unlink()
    again = pretrained(NAME, DataSource(root), "imagenet-small")
    assert again.fingerprint == first.fingerprint
    assert (first.num_classes, first.input_shape) == (1000, (3, 224, 224))


def test_images_are_normalised_as_the_weights_want(tmp_path, published):
    classifier = pretrained(NAME, DataSource(tmp_path / "data", download=True), "imagenet-small")
    x = torch.rand(1, 3, 224, 224)
    transform = torchvision.models.get_model_weights(NAME).IMAGENET1K_V1.transforms()
    normalised = torchvision.transforms.functional.normalize(x, transform.mean, transform.std)
    assert torch.allclose(classifier(x), classifier.network(normalised), atol=1e-5)


def test_a_download_with_the_wrong_checksum_is_not_kept(tmp_path, published):
    published.write_bytes(published.read_bytes() + b"x")
    with pytest.raises(DataError, match=r"imagenet-small: the download .* failed"):
        pretrained(NAME, DataSource(tmp_path / "data", download=True), "imagenet-small")
    assert not list((tmp_path / "data").rglob("*.safetensors"))


def test_a_file_that_is_not_there_is_one_sentence(tmp_path, published):
    published.unlink()
    with pytest.raises(DataError, match=r"imagenet-small: the download .* failed"):
        pretrained(NAME, DataSource(tmp_path / "data", download=True), "imagenet-small")


def test_another_networks_weights_are_named(tmp_path):
    (tmp_path / FOLDER).mkdir()
    other = torchvision.models.get_model("squeezenet1_0", weights=None).state_dict()
    save_file(other, tmp_path / FOLDER / f"{NAME}.safetensors")
    with pytest.raises(ModelError, match=f"{NAME}.safetensors do not fit SqueezeNet, keys: .*of another shape"):
        pretrained(NAME, DataSource(tmp_path), "imagenet-small")


def test_a_network_for_larger_images_resizes_inside_and_leaves_out_its_training_heads(tmp_path):
    (tmp_path / FOLDER).mkdir()
    whole = torchvision.models.get_model("inception_v3", weights=None, init_weights=False)
    path = tmp_path / FOLDER / "inception_v3.safetensors"
    save_file(whole.state_dict(), path)
    assert any(key.startswith("AuxLogits.") for key in load_file(path))
    classifier = pretrained("inception_v3", DataSource(tmp_path), "imagenet-paper")
    assert isinstance(classifier.network, ResizedInput)
    x = torch.rand(1, 3, 224, 224)
    with torch.no_grad():
        large = torch.nn.functional.interpolate(classifier_input(x), (299, 299), mode="bilinear", antialias=True)
        whole.transform_input = True
        assert torch.allclose(classifier(x), whole.eval()(large), atol=1e-4)


def classifier_input(x: torch.Tensor) -> torch.Tensor:
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (module.MEAN, module.STD))
    return (x - mean) / std


@pytest.mark.parametrize("name", [*PAPER, *SMALL])
def test_every_network_of_the_families_has_published_weights_with_a_checksum(name):
    assert weights_url(name).startswith("https://download.pytorch.org/")
    checksum = Path(weights_url(name)).stem.rpartition("-")[2]
    assert len(checksum) in (8, 10)
    int(checksum, 16)
    assert 0.5 < published_accuracy(name) < 0.8


def test_the_paper_compares_networks_alone_and_in_groups():
    assert len(PAPER) == len(SMALL) == 8
    assert [list(PAPER.values()).count(group) for group in ("vgg", "googlenet", "resnet")] == [2, 2, 3]
