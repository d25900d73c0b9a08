"""Models from the store: trained once, under a key of everything that determines their weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from pytest_robust.errors import ModelError
from pytest_robust.models.classifier import Classifier
from pytest_robust.models.network import build_network, classifier_of, own_random_state
from pytest_robust.models.progress import Progress
from pytest_robust.models.recipe import Recipe
from pytest_robust.models.recipe_key import recipe_key as recipe_key
from pytest_robust.models.training import train_with_state
from pytest_robust.registry import Registry
from pytest_robust.store.artifacts import Artifact, ArtifactStore

KIND = "model"


def load_or_train(
    recipe: Recipe,
    store: ArtifactStore,
    device: torch.device,
    architectures: Registry[Any],
    progress: Progress | None = None,
) -> tuple[Classifier, bool]:
    """The classifier of `recipe` from `store`, trained and kept there now if it was not; True if trained now.

    An interrupted training goes on where its last checkpoint left it. The classifier is in eval mode and frozen:
    its weights want no gradient, so that an attack pays for the gradient of the images only.

    Raises:
        UnknownNameError: no such architecture.
        ModelError: the network does not fit, or its loss stops being a number.
        DataError: there are no images.
        CacheError: the store's folder cannot be used.
    """
    key = recipe_key(recipe, architectures, device)
    checkpoint = store.checkpoint(KIND, key)

    def build() -> Artifact:
        classifier, state = train_with_state(recipe, device, architectures, checkpoint=checkpoint, progress=progress)
        about = {"title": recipe.title, "recipe": recipe.settings, "device": device.type, **state.figures()}
        return Artifact(classifier.state_dict(), about)

    artifact, built = store.get_or_build(KIND, key, build)
    if built:
        checkpoint.unlink(missing_ok=True)
    return classifier_from(recipe, artifact.tensors, architectures, device), built


def classifier_from(
    recipe: Recipe, tensors: Mapping[str, Tensor], architectures: Registry[Any], device: torch.device
) -> Classifier:
    """The classifier of `recipe` with the weights in `tensors`, on `device`, in eval mode and frozen.

    Raises:
        UnknownNameError: no such architecture.
        ModelError: the network does not fit its images, or the tensors are another network's.
    """
    with own_random_state(device, recipe.seed):
        network = build_network(recipe, architectures)
    try:
        classifier = classifier_of(network, recipe, tensors["mean"], tensors["std"], device)
        classifier.load_state_dict(dict(tensors))
    except (KeyError, RuntimeError) as error:
        raise ModelError(f"the weights do not belong to the architecture {recipe.architecture!r}: {error}") from error
    return classifier.eval().requires_grad_(False)
