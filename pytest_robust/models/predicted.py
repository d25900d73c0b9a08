"""Predicted labels from the store: a network that was once shown the images is not shown them again."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from pytest_robust.data.images import Images
from pytest_robust.models.classifier import Classifier
from pytest_robust.models.family import CHUNK, predictions
from pytest_robust.models.progress import Progress, SilentProgress
from pytest_robust.store.artifacts import Artifact, ArtifactStore
from pytest_robust.store.fingerprint import fingerprint

KIND = "predicted"
#: Images whose labels are stored together (ours): seconds to minutes of work on a CPU, and whole chunks.
PART = 16 * CHUNK


def load_or_predict(
    members: Mapping[str, Classifier], images: Images, store: ArtifactStore, progress: Progress | None = None
) -> dict[str, Tensor]:
    """Each classifier's labels of `images`, int64 of shape (N,): from `store`, or predicted and kept there now.

    The images are read only if some classifier's labels are missing, and then once for all of these. They are kept part
    by part, so that an interrupted run goes on where it was.

    Raises:
        ModelError: a classifier does not give logits.
        CacheError: the store's folder cannot be used.
    """
    keys = {name: _key(classifier, images) for name, classifier in members.items()}
    found = {name: store.read(KIND, key) for name, key in keys.items()}
    known = {name: artifact.tensors["label"] for name, artifact in found.items() if artifact is not None}
    missing = {name: members[name] for name in members if name not in known}
    if missing:
        new = _in_parts(missing, keys, images, store, progress or SilentProgress())
        for name, labels in new.items():
            store.write(KIND, keys[name], _artifact(labels, name, images))
        known |= new
    return {name: known[name] for name in members}


def _in_parts(
    members: Mapping[str, Classifier], keys: Mapping[str, str], images: Images, store: ArtifactStore, progress: Progress
) -> dict[str, Tensor]:
    """Labels of all images, those of each part from the store or kept there as soon as they are known."""
    parts = torch.arange(len(images)).split(PART)
    if len(parts) == 1:
        return predictions(members, images)
    labels: dict[str, list[Tensor]] = {name: [] for name in members}
    progress.begin(f"classifying the images of {images.name}", len(parts))
    try:
        for part in parts:
            own = {name: fingerprint([keys[name], int(part[0]), len(part)]) for name in members}
            found = {name: store.read(KIND, key) for name, key in own.items()}
            new = {name: members[name] for name, artifact in found.items() if artifact is None}
            predicted = predictions(new, images.subset(part)) if new else {}
            for name, answers in predicted.items():
                store.write(KIND, own[name], _artifact(answers, name, images))
            for name, artifact in found.items():
                labels[name].append(predicted[name] if artifact is None else artifact.tensors["label"])
            progress.step({})
    finally:
        progress.end()
    return {name: torch.cat(each) for name, each in labels.items()}


def _artifact(labels: Tensor, name: str, images: Images) -> Artifact:
    return Artifact({"label": labels}, {"classifier": name, "data": images.name})


def _key(classifier: Classifier, images: Images) -> str:
    torch_version = torch.__version__.partition("+")[0]
    return fingerprint([KIND, 1, classifier.fingerprint, classifier.device.type, torch_version, images.fingerprint])
