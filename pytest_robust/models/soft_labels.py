"""Losses at a temperature: of a teacher, and of a student that learns its softened answers."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from pytest_robust.errors import SettingsError
from pytest_robust.models.classifier import Classifier
from pytest_robust.models.losses import Batch, TrainingLoss, right


@dataclass(frozen=True)
class SoftLabels(TrainingLoss):
    """Cross-entropy with a teacher's probabilities at temperature T (Papernot et al. 2016, arXiv:1511.04508).

    The companion holds the teacher's logits, float32 of shape (N, K); teacher and student are both divided by T, the
    student in training only.

    Args:
        temperature: T > 0.
    """

    temperature: float = 1.0

    def __call__(self, classifier: Classifier, batch: Batch) -> tuple[Tensor, Tensor]:
        """As in `TrainingLoss`.

        Raises:
            SettingsError: the recipe names no teacher.
        """
        if batch.companion is None:
            raise SettingsError("training on soft labels needs the teacher's logits as the recipe's companion.")
        logits = classifier(batch.x)
        soft = (batch.companion / self.temperature).softmax(1)
        return F.cross_entropy(logits.float() / self.temperature, soft), right(logits, batch.y)


@dataclass(frozen=True)
class HotCrossEntropy(TrainingLoss):
    """Cross-entropy of the logits divided by a temperature: how the teacher of a distillation is trained.

    Args:
        temperature: T > 0.
    """

    temperature: float = 1.0

    def __call__(self, classifier: Classifier, batch: Batch) -> tuple[Tensor, Tensor]:
        """As in `TrainingLoss`."""
        logits = classifier(batch.x)
        return F.cross_entropy(logits.float() / self.temperature, batch.y), right(logits, batch.y)
