"""Resizing inside a network, differentiably, so that networks of different input sizes share the same images."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn


class ResizedInput(nn.Module):
    """A network that takes images of any size, resized to the size that it was made for.

    Bilinear with antialiasing, as torchvision resizes; values stay in the range that they have. The gradient goes
    through it, so that an attack perturbs the images that all networks share.

    Args:
        network: from images (N, C, size, size) to anything.
        size: pixels of both sides.
    """

    def __init__(self, network: nn.Module, size: int) -> None:
        super().__init__()
        self.network = network
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        """What the network makes of images `x`, float (N, C, H, W), resized to (N, C, size, size)."""
        answer: Tensor = self.network(self._resized(x))
        return answer

    @property
    def attack_loss(self) -> Callable[[Tensor, Tensor, bool], tuple[Tensor, Tensor]] | None:
        """The network's own (`Classifier.attack_loss`), of images of any size; None if it has none."""
        own = getattr(self.network, "attack_loss", None)
        return None if own is None else lambda x, y, targeted: own(self._resized(x), y, targeted)

    def _resized(self, x: Tensor) -> Tensor:
        side = (self.size, self.size)
        if x.shape[-2:] == side:
            return x
        return F.interpolate(x, side, mode="bilinear", align_corners=False, antialias=True)

    def extra_repr(self) -> str:
        """The size, for `repr`."""
        return f"size={self.size}"
