"""A `Classifier` as ART's ``PyTorchClassifier``, without ART's surprises about devices and preprocessing."""

from __future__ import annotations

from typing import Any

import torch
from art.estimators.classification import PyTorchClassifier
from torch import nn

from pytest_robust.models.classifier import Classifier


class _PlacedClassifier(PyTorchClassifier):  # type: ignore[misc]
    """ART's classifier, on the device where its model already is.

    ART knows "cpu" and the current CUDA device, and its constructor moves the model there; here the device is the
    model's own, so that moving the model to it does nothing.
    """

    def __init__(self, placed: torch.device, **settings: Any) -> None:
        self._placed = placed
        super().__init__(**settings, device_type="cpu" if placed.type == "cpu" else "gpu")

    @property
    def _device(self) -> torch.device:
        return self._placed

    @_device.setter
    def _device(self, _: torch.device) -> None:
        """Ignore what ART would choose."""


def art_estimator(classifier: Classifier) -> PyTorchClassifier:
    """`classifier` as ART's ``PyTorchClassifier``: clip values (0, 1), no preprocessing, cross-entropy loss.

    The classifier is used as it is: it stays on its device, and weights that are frozen stay frozen. ART executes a
    bare ``nn.Sequential`` child by child, ignoring its own ``forward`` and hooks; a `Classifier` is no such thing.
    """
    return _PlacedClassifier(
        classifier.device,
        model=classifier,
        loss=nn.CrossEntropyLoss(),
        input_shape=classifier.input_shape,
        nb_classes=classifier.num_classes,
        clip_values=(0.0, 1.0),
        preprocessing=None,
    )
