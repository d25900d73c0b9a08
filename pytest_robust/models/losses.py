"""What a training minimises: cross-entropy, or what a defense puts in its place.

A loss is a frozen dataclass of plain parameters, so that a recipe can name it and the store can tell two apart.
A defense with a loss of its own derives from `TrainingLoss`; its code counts in the key of the trained model, so each
loss has a module of its own: an edit to one trains nobody else's networks again.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import torch.nn.functional as F
from torch import Tensor

from pytest_robust.models.classifier import Classifier
from pytest_robust.store.code import users_code_fingerprint


class Batch(NamedTuple):
    """What a training step looks at.

    Args:
        x: images, float32 of shape (n, C, H, W), in [0, 1].
        y: labels, int64 of shape (n,).
        companion: the rows of `Recipe.companion` that belong to them; None if the recipe has none.
    """

    x: Tensor
    y: Tensor
    companion: Tensor | None


@dataclass(frozen=True)
class TrainingLoss(ABC):
    """A training loss with its parameters.

    Attributes:
        trains: what the network gives for an image: "logits", or an "image" of the same shape.
    """

    trains: ClassVar[Literal["logits", "image"]] = "logits"

    @abstractmethod
    def __call__(self, classifier: Classifier, batch: Batch) -> tuple[Tensor, Tensor]:
        """The mean loss of a batch, differentiable, and how many of its images got the right label.

        Args:
            classifier: in training mode.
            batch: what it is trained on in this step.
        """

    def settings(self) -> dict[str, Any]:
        """Parameters and code, as plain data for the recipe's fingerprint."""
        kind = type(self)
        # Also of what it inherits, and of whatever of the user's its file imports.
        code = [users_code_fingerprint(base) for base in kind.__mro__ if issubclass(base, TrainingLoss)]
        return {"loss": f"{kind.__module__}.{kind.__qualname__}", "code": code, **asdict(self)}


def right(logits: Tensor, y: Tensor) -> Tensor:
    """How many of the batch have their label as the answer, still on the device."""
    return (logits.detach().argmax(1) == y).sum()


@dataclass(frozen=True)
class CrossEntropy(TrainingLoss):
    """Cross-entropy of the logits."""

    def __call__(self, classifier: Classifier, batch: Batch) -> tuple[Tensor, Tensor]:
        """As in `TrainingLoss`."""
        logits = classifier(batch.x)
        return F.cross_entropy(logits.float(), batch.y), right(logits, batch.y)
