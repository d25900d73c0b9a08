"""Any classifier of torchvision as an architecture: the names behind the prefix ``torchvision:``."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass

import torchvision
from torch import nn

from pytest_robust.errors import UnknownNameError

#: In training these two would answer with a tuple, and warn that their initialisation is going to change.
_PLAIN_OUTPUT = {name: {"aux_logits": False, "init_weights": True} for name in ("googlenet", "inception_v3")}


@dataclass(frozen=True)
class TorchvisionArchitecture:
    """An untrained torchvision network as a factory; images of the size that the network was made for suit it best.

    Args:
        name: as in ``torchvision.models.list_models``.
    """

    name: str

    def __call__(self, num_classes: int, input_shape: tuple[int, int, int]) -> nn.Module:  # noqa: ARG002
        """The network with `num_classes` outputs, its weights drawn at random."""
        settings = _PLAIN_OUTPUT.get(self.name, {})
        network: nn.Module = torchvision.models.get_model(self.name, weights=None, num_classes=num_classes, **settings)
        return network

    @property
    def fingerprint(self) -> str:
        """torchvision's version decides what the name means."""
        return f"torchvision {torchvision.__version__} {self.name}"


def architecture(name: str) -> Callable[[int, tuple[int, int, int]], nn.Module]:
    """The factory of torchvision's classifier `name` ("resnet18").

    Raises:
        UnknownNameError: torchvision has no such classifier.
    """
    known = torchvision.models.list_models(module=torchvision.models)
    if name in known:
        return TorchvisionArchitecture(name)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean 'torchvision:{near[0]}'? " if near else ""
    raise UnknownNameError(f"torchvision has no classifier {name!r}; {hint}Known: {', '.join(known)}.")
