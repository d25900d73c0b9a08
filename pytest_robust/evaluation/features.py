"""Where images lie among the classes in a network's feature space, in units of the classes' own spread."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pytest_robust.errors import SettingsError


@dataclass(frozen=True, eq=False)
class ClassGeometry:
    """Centres and spreads of the classes in a feature space.

    Args:
        centres: float of shape (K, F): mean feature of each class.
        spreads: float of shape (K,): root mean square distance of a class's images from its centre.
    """

    centres: Tensor
    spreads: Tensor

    @classmethod
    def of(cls, features: Tensor, y: Tensor) -> ClassGeometry:
        """From features of labelled in-distribution images, float (N, F) and int64 (N,).

        Raises:
            SettingsError: a class has fewer than two images, so that it has no spread.
        """
        groups = [features[y == label] for label in y.unique()]
        if any(len(group) < 2 for group in groups):
            raise SettingsError("a class with fewer than two images has no spread: measure on more images.")
        centres = torch.stack([group.mean(0) for group in groups])
        spreads = [(g - c).square().sum(1).mean().sqrt() for g, c in zip(groups, centres, strict=True)]
        return cls(centres, torch.stack(spreads))

    def distance(self, features: Tensor) -> Tensor:
        """Distance of each image from its nearest class, in units of that class's spread; float of shape (N,)."""
        return (torch.cdist(features, self.centres) / self.spreads).amin(1)
