"""Predicted labels from the store: a network that was once shown the images is not shown them again."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from pytest_robust.data.images import Images
from pytest_robust.models.classifier import Classifier
from pytest_robust.models.family import predictions
from pytest_robust.store.artifacts import Artifact, ArtifactStore
from pytest_robust.store.fingerprint import fingerprint

KIND = "predicted"


def load_or_predict(members: Mapping[str, Classifier], images: Images, store: ArtifactStore) -> dict[str, Tensor]:
    """Each classifier's labels of `images`, int64 of shape (N,): from `store`, or predicted and kept there now.

    The images are read only if some classifier's labels are missing, and then in one pass for all of these.

    Raises:
        ModelError: a classifier does not give logits.
        CacheError: the store's folder cannot be used.
    """
    keys = {name: _key(classifier, images) for name, classifier in members.items()}
    found = {name: store.read(KIND, key) for name, key in keys.items()}
    new = predictions({name: members[name] for name, artifact in found.items() if artifact is None}, images)
    for name, labels in new.items():
        store.write(KIND, keys[name], Artifact({"label": labels}, {"classifier": name, "data": images.name}))
    known = {name: artifact.tensors["label"] for name, artifact in found.items() if artifact is not None}
    return {name: known[name] if name in known else new[name] for name in members}


def _key(classifier: Classifier, images: Images) -> str:
    torch_version = torch.__version__.partition("+")[0]
    return fingerprint([KIND, 1, classifier.fingerprint, classifier.device.type, torch_version, images.fingerprint])
