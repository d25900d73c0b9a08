"""torchvision's pretrained ImageNet classifiers, from safetensors under the data root, downloaded only when asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import nn

from pytest_robust.data.dataset import DataSource
from pytest_robust.data.download import ensure
from pytest_robust.models.classifier import Classifier
from pytest_robust.models.resized import ResizedInput
from pytest_robust.models.weights import converted, load_weights

FOLDER = "torchvision_weights"
SIDE = 224  # of the images that all networks share
#: Means and deviations of ImageNet's channels, which all of torchvision's networks are trained with.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
#: torchvision builds these two differently for its weights, without the heads that only training needs.
_SETTINGS = {
    name: {"transform_input": True, "aux_logits": False, "init_weights": False}
    for name in ("googlenet", "inception_v3")
}
_TRAINING_ONLY = ("aux1.", "aux2.", "AuxLogits.")
_OWN_SIDE = {"inception_v3": 299}


def pretrained(name: str, source: DataSource, family: str) -> Classifier:
    """torchvision's network `name` with its first ImageNet weights, for images 3 × 224 × 224 in [0, 1].

    A network for images of another size resizes them inside.

    Args:
        name: as torchvision calls it ("resnet50").
        source: the data root, with ``torchvision_weights/NAME.safetensors`` in it, and whether it may be fetched.
        family: for messages.

    Raises:
        MissingDataError: the file is not there, and `source` does not ask for a download.
        DataError: the download fails.
        ModelError: the file is a pickle, damaged, or another network's.
    """
    wanted = f"{FOLDER}/{name}.safetensors"
    root = ensure(family, source, wanted, lambda under: (under / wanted).is_file(), lambda into: _fetch(name, into))
    network: nn.Module = torchvision.models.get_model(name, weights=None, **_SETTINGS.get(name, {}))
    load_weights(network, root / wanted, ignoring=_TRAINING_ONLY)
    own = _OWN_SIDE.get(name, SIDE)
    return Classifier(
        network if own == SIDE else ResizedInput(network, own),
        num_classes=1000,
        input_shape=(3, SIDE, SIDE),
        mean=torch.tensor(MEAN).view(3, 1, 1),
        std=torch.tensor(STD).view(3, 1, 1),
        name=name,
    )


def published_accuracy(name: str) -> float:
    """Top-1 accuracy on ImageNet's validation set, a share, as torchvision states it for these weights."""
    return float(_weights(name).meta["_metrics"]["ImageNet-1K"]["acc@1"]) / 100


def weights_url(name: str) -> str:
    """Where torchvision publishes them; the file's name ends in the beginning of its SHA-256 sum."""
    return str(_weights(name).url)


def _weights(name: str) -> Any:
    return torchvision.models.get_model_weights(name).IMAGENET1K_V1


def _fetch(name: str, into: Path) -> None:
    """Download, check and convert; the pickle that torchvision publishes is read without running what it holds."""
    url = weights_url(name)
    pickled = into / url.rpartition("/")[2]
    checksum = pickled.stem.rpartition("-")[2]
    torch.hub.download_url_to_file(url, str(pickled), hash_prefix=checksum, progress=False)
    (into / FOLDER).mkdir()
    converted(pickled, into / FOLDER / f"{name}.safetensors")
    pickled.unlink()
