"""A `Classifier` as ART's ``PyTorchClassifier``, without ART's surprises about devices and preprocessing."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from art.estimators.classification import PyTorchClassifier
from torch import nn

from pytest_robust.models.classifier import Classifier


class _PlacedClassifier(PyTorchClassifier):  # type: ignore[misc]
    """ART's classifier, on the device where its model already is, and in float32.

    ART knows "cpu" and the current CUDA device, and its constructor moves the model there; here the device is the
    model's own, so that moving the model to it does nothing. Several of ART's attacks compute in float64 and hand that
    to the model, which refuses it.
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

    def _apply_preprocessing(self, x: Any, y: Any, fit: bool = False, no_grad: bool = True) -> tuple[Any, Any]:
        # Every path from ART's images to the model leads through here.
        if isinstance(x, np.ndarray) and x.dtype == np.float64:
            x = x.astype(np.float32)
        return super()._apply_preprocessing(x, y, fit=fit, no_grad=no_grad)  # type: ignore[no-any-return]


def art_estimator(classifier: Classifier, loss: nn.CrossEntropyLoss | None = None) -> PyTorchClassifier:
    """`classifier` as ART's ``PyTorchClassifier``: clip values (0, 1), no preprocessing, cross-entropy loss or `loss`.

    The classifier is used as it is: it stays on its device, and weights that are frozen stay frozen. ART executes a
    bare ``nn.Sequential`` child by child, ignoring its own ``forward`` and hooks; a `Classifier` is no such thing.
    """
    return _PlacedClassifier(
        classifier.device,
        model=classifier,
        loss=nn.CrossEntropyLoss() if loss is None else loss,
        input_shape=classifier.input_shape,
        nb_classes=classifier.num_classes,
        clip_values=(0.0, 1.0),
        preprocessing=None,
    )
