"""A Perturbation: a value of a few numbers that changes images; it prints as the code that makes it."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor

from pytest_robust.data.split import check_images
from pytest_robust.errors import DataError, SettingsError


class Perturbation(ABC):
    """What changes an image. A subclass is a frozen dataclass of numbers, and has `_changed`."""

    def apply(self, image: Tensor) -> Tensor:
        """The perturbed image, clipped to [0, 1]; the same every time.

        Args:
            image: float32 of shape (C, H, W), or (N, C, H, W), each image being changed in the same way; in [0, 1].

        Returns:
            A new tensor of the same shape, dtype and device.

        Raises:
            DataError: another shape or dtype, a value outside [0, 1], or a number of channels that this has no
                definition for.
        """
        batch = batch_of(image, type(self).__name__)
        changed = self._changed(batch).clamp(0, 1)
        return changed.view_as(image)

    def norms(self, image: Tensor) -> dict[str, float]:
        """How far it moves `image`, after clipping: "linf", "l2", and "l0", which counts changed values.

        Args:
            image: as in `apply`; of several images the largest norm is given.

        Raises:
            DataError: as `apply`.
        """
        return distances(batch_of(image, "norms"), batch_of(self.apply(image), "norms"))

    @abstractmethod
    def _changed(self, x: Tensor) -> Tensor:
        """The changed images, clipped by the caller; `x` is checked, of shape (N, C, H, W), and must stay as it is."""


def batch_of(image: object, where: str) -> Tensor:
    """`image` of shape (C, H, W) or (N, C, H, W) as (N, C, H, W), without its graph.

    Raises:
        DataError: it is no float32 image in [0, 1].
    """
    if not isinstance(image, Tensor) or image.ndim not in (3, 4):
        got = f"a tensor of shape {tuple(image.shape)}" if isinstance(image, Tensor) else type(image).__name__
        raise DataError(f"{where}: an image is a float32 tensor of shape (C, H, W) or (N, C, H, W), not {got}.")
    batch = image.detach().reshape(-1, *image.shape[-3:])
    check_images(batch, where)
    return batch


def distances(clean: Tensor, perturbed: Tensor) -> dict[str, float]:
    """Largest "linf", "l2" and "l0" (values that differ) between images of shape (N, C, H, W) each."""
    delta = (perturbed - clean).flatten(1).double()
    if not delta.numel():
        return {"linf": 0.0, "l2": 0.0, "l0": 0.0}
    sizes = {"linf": delta.abs().amax(1), "l2": delta.norm(dim=1), "l0": (delta != 0).sum(1)}
    return {name: float(size.max()) for name, size in sizes.items()}


def check_number(value: float, what: str, low: float, high: float = math.inf) -> None:
    """Raise SettingsError unless `value` is a number from `low` to `high`."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        upper = "" if math.isinf(high) else f" and at most {high:g}"
        raise SettingsError(f"{what} is {value!r}, but must be a number of at least {low:g}{upper}.")
    if math.isinf(value):
        raise SettingsError(f"{what} is infinite; give a number.")


def check_whole(value: int, what: str, low: float) -> None:
    """Raise SettingsError unless `value` is a whole number of at least `low`."""
    if not isinstance(value, int):
        raise SettingsError(f"{what} is {value!r}, but must be a whole number.")
    check_number(value, what, low)


def seeded(seed: int) -> torch.Generator:
    """A generator on the CPU, so that a perturbation is the same on every device."""
    return torch.Generator().manual_seed(seed)
