"""A Decision: what a defended model answers for a batch of images."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Decision:
    """The answer of a defended model for N images.

    Args:
        label: int64 of shape (N,): the class it would name, 0 .. num_classes - 1, also where it rejects.
        rejected: bool of shape (N,): whether it declines to answer.
        score: float32 of shape (N,): how suspicious the image looks; higher is more suspicious.
    """

    label: Tensor
    rejected: Tensor
    score: Tensor

    def __len__(self) -> int:
        return len(self.label)

    def correct(self, y: Tensor) -> Tensor:
        """Bool of shape (N,): answered, and with the right label."""
        return (self.label == y) & ~self.rejected

    def wrong(self, y: Tensor) -> Tensor:
        """Bool of shape (N,): answered, and with a wrong label. Err = 1 − (Acc + Rej) is its mean."""
        return (self.label != y) & ~self.rejected

    @staticmethod
    def cat(parts: list[Decision]) -> Decision:
        """The decisions of several batches, in order."""
        return Decision(
            torch.cat([p.label for p in parts]),
            torch.cat([p.rejected for p in parts]),
            torch.cat([p.score for p in parts]),
        )
