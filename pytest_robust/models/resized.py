"""Resizing inside a network, differentiably, so that networks of different input sizes share the same images."""

from __future__ import annotations

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
        side = (self.size, self.size)
        if x.shape[-2:] != side:
            x = F.interpolate(x, side, mode="bilinear", align_corners=False, antialias=True)
        answer: Tensor = self.network(x)
        return answer

    def extra_repr(self) -> str:
        """The size, for `repr`."""
        return f"size={self.size}"
