"""From an architecture's name to a network that is known to fit the images and to have one output per class."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from pytest_robust.errors import ModelError
from pytest_robust.models.classifier import Classifier
from pytest_robust.models.recipe import Recipe
from pytest_robust.registry import Registry
from pytest_robust.store.blame import told


def build_network(recipe: Recipe, architectures: Registry[Any]) -> nn.Module:
    """The untrained network of `recipe`, tried on two images; on the CPU, weights from torch's global generator.

    Raises:
        UnknownNameError: no such architecture.
        ModelError: the architecture fails, or its network has the wrong kind of output.
    """
    network = make_network(recipe, architectures)
    _check_output(network, recipe)
    return network


def make_network(recipe: Recipe, architectures: Registry[Any]) -> nn.Module:
    """The untrained network of `recipe` as its factory gives it; errors as in `build_network`."""
    factory: Callable[[int, tuple[int, int, int]], nn.Module] = architectures.get(recipe.architecture)
    try:
        network = factory(recipe.num_classes, recipe.input_shape)
    except Exception as error:
        raise ModelError(
            f"{_called(recipe)} cannot be built for {recipe.num_classes} classes and images of shape "
            f"{recipe.input_shape} (C, H, W): {told(error)}."
        ) from error
    if not isinstance(network, nn.Module):
        raise ModelError(
            f"{_called(recipe)} must give a torch.nn.Module, but its factory gave a {type(network).__name__}."
        )
    return network


def _check_output(network: nn.Module, recipe: Recipe) -> None:
    network.eval()
    try:
        with torch.no_grad():
            logits = network(torch.zeros(2, *recipe.input_shape))
    except Exception as error:
        raise ModelError(
            f"{_called(recipe)} fails on images of shape {recipe.input_shape} (C, H, W): {told(error)}."
        ) from error
    shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
    expected = (2, *recipe.output_shape)
    if shape != expected:
        what = "one logit per class" if len(expected) == 2 else "an image for each"
        raise ModelError(f"{_called(recipe)} gives {shape} for two images, but {expected} is expected: {what}.")


def _called(recipe: Recipe) -> str:
    return f"the architecture {recipe.architecture!r}"


def classifier_of(network: nn.Module, recipe: Recipe, mean: Tensor, std: Tensor, device: torch.device) -> Classifier:
    """`network` as the recipe's classifier on `device`, in the memory format in which the recipe trains."""
    classifier = Classifier(
        network,
        num_classes=recipe.num_classes,
        input_shape=recipe.input_shape,
        mean=mean,
        std=std,
        name=recipe.title,
    ).to(device)
    return classifier.to(memory_format=torch.channels_last) if recipe.channels_last else classifier


@contextmanager
def own_random_state(device: torch.device, seed: int) -> Iterator[None]:
    """Inside, torch draws from `seed` on the CPU and on `device`; outside, as if nothing had been drawn."""
    cpu_state = torch.get_rng_state()
    device_state = _device_state(device)
    reseed(device, seed)
    try:
        yield
    finally:
        torch.set_rng_state(cpu_state)
        if device_state is not None:
            _set_device_state(device, device_state)


def reseed(device: torch.device, seed: int) -> None:
    """Seed torch's generators of the CPU and of `device`, and no other device's."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)
    elif device.type == "mps":
        torch.mps.manual_seed(seed)


def _device_state(device: torch.device) -> Tensor | None:
    if device.type == "cuda":
        return torch.cuda.get_rng_state(device)
    return torch.mps.get_rng_state() if device.type == "mps" else None


def _set_device_state(device: torch.device, state: Tensor) -> None:
    if device.type == "cuda":
        torch.cuda.set_rng_state(state, device)
    else:
        torch.mps.set_rng_state(state)
