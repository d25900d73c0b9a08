"""Running an attack without leaving a trace: training mode, weight gradients and random states come back."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import nn


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """Put `model` into eval mode with frozen parameters; afterwards modes, flags and gradients are as before.

    Frozen, because an attack needs the gradient of the images alone: that of the weights is a third of a pass.
    """
    modes = [(module, module.training) for module in model.modules()]
    parameters = [(p, p.requires_grad, p.grad) for p in model.parameters()]
    try:
        model.eval()
        for parameter, _, _ in parameters:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter, trainable, gradient in parameters:
            parameter.requires_grad_(trainable)
            parameter.grad = gradient
        for module, training in modes:
            module.training = training


@contextmanager
def current_device(device: torch.device) -> Iterator[None]:
    """Make `device` the current CUDA device, if it is one: ART knows no other way to be told which."""
    with torch.cuda.device(device) if device.type == "cuda" else nullcontext():
        yield


class _DerivedState(np.random.RandomState):
    def __init__(self, seed: Any = None) -> None:
        super().__init__(np.random.randint(2**31) if seed is None else seed)


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed Python's, NumPy's and torch's global random states (ART draws from them) and put them back afterwards.

    A ``np.random.RandomState()`` made inside, which would ask the operating system for a seed, gets its seed from
    NumPy's global state: three of ART's attacks start from one, and are not repeatable otherwise.
    """
    python, numpy = random.getstate(), np.random.get_state()
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices), patch.object(np.random, "RandomState", _DerivedState):
        torch.manual_seed(seed)
        np.random.seed(seed % 2**32)
        random.seed(seed)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
