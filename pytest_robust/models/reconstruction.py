"""The loss of an image-to-image network: the mean squared error to the images it should give."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from pytest_robust.errors import SettingsError
from pytest_robust.models.classifier import Classifier
from pytest_robust.models.losses import Batch, TrainingLoss


@dataclass(frozen=True)
class Reconstruction(TrainingLoss):
    """Mean squared error of an image-to-image network to the companion images, float32 of shape (N, C, H, W)."""

    trains: ClassVar[Literal["logits", "image"]] = "image"

    def __call__(self, classifier: Classifier, batch: Batch) -> tuple[Tensor, Tensor]:
        """As in `TrainingLoss`; no image has a label, so none is right.

        Raises:
            SettingsError: the recipe names no companion images.
        """
        if batch.companion is None:
            raise SettingsError("training a reconstruction needs the images to reach as the recipe's companion.")
        return F.mse_loss(classifier(batch.x).float(), batch.companion), torch.zeros((), device=batch.x.device)
