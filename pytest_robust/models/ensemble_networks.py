"""The networks of Strauss et al., "Ensemble Methods as a Defense to Adversarial Perturbations" (arXiv:1709.03423).

Its MNIST network is `convnets.small_cnn`; here are the one for CIFAR-10, one for 8×8 images and, for ensembles of mixed
models, slightly different versions of each: "extra filters are used in one classifier or an extra convolution layer is
added to another".
Convolutions are padded (our choice: the paper does not say), so that images of any size pass.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from pytest_robust.errors import UnknownNameError
from pytest_robust.models.convnets import Shape

#: Prefix under which the different versions are registered.
FAMILY = "ensemble_variant:"
#: Each further width has so many more filters in every layer, as a share of the first block's (our choice).
WIDER = 1 / 8
_NAME = re.compile(r"(mnist|cifar|digits)\+(\d+)(\+conv)?")


@dataclass(frozen=True)
class Plan:
    """Blocks of two convolutions 3×3, a pooling and dropout each, then a layer of units with dropout.

    Args:
        filters: of each block.
        dropout: after each block.
        units: of the hidden linear layer, which dropout of 0.5 follows.
    """

    filters: tuple[int, ...]
    dropout: tuple[float, ...]
    units: int


#: Tables 1 and 3 of the paper; and, for 8×8 images, the former with half of everything (ours).
PLANS = {
    "mnist": Plan((32,), (0.0,), 128),
    "cifar": Plan((32, 64, 128), (0.2, 0.3, 0.4), 512),
    "digits": Plan((16,), (0.0,), 64),
}
#: Registered names of the networks without anything extra.
BASES = {"mnist": "small_cnn", "cifar": "ensemble_cifar", "digits": "ensemble_digits"}


def ensemble_cifar(num_classes: int, input_shape: Shape) -> nn.Module:
    """The CIFAR-10 network: three blocks of 32, 64 and 128 filters, 512 units. For images of any size."""
    return Variant("cifar", 0, False)(num_classes, input_shape)


def ensemble_digits(num_classes: int, input_shape: Shape) -> nn.Module:
    """The MNIST network with half its filters and units. For images of any size."""
    return Variant("digits", 0, False)(num_classes, input_shape)


@dataclass(frozen=True)
class Variant:
    """A slightly different version of one of the networks, as a factory.

    Args:
        plan: "mnist", "cifar" or "digits".
        extra_filters: more filters in every convolution.
        extra_convolution: one more convolution in the last block.
    """

    plan: str
    extra_filters: int
    extra_convolution: bool

    def __call__(self, num_classes: int, input_shape: Shape) -> nn.Module:
        """The network, its weights drawn at random."""
        plan, (channels, h, w) = PLANS[self.plan], input_shape
        layers: list[nn.Module] = []
        for number, (filters, dropout) in enumerate(zip(plan.filters, plan.dropout, strict=True), 1):
            width, last = filters + self.extra_filters, number == len(plan.filters)
            layers += [*_convolutions(channels, width, 2 + (last and self.extra_convolution)), _halving()]
            layers += [nn.Dropout(dropout)] if dropout else []
            channels, h, w = width, -(-h // 2), -(-w // 2)
        hidden = [nn.Linear(channels * h * w, plan.units), nn.ReLU(), nn.Dropout(0.5)]
        return nn.Sequential(*layers, nn.Flatten(), *hidden, nn.Linear(plan.units, num_classes))


def variant(name: str) -> Variant:
    """The factory behind a name without its prefix: "mnist+4", "cifar+0+conv".

    Raises:
        UnknownNameError: it does not read so.
    """
    read = _NAME.fullmatch(name)
    if read is None:
        raise UnknownNameError(
            f"{FAMILY}{name} is no version of the ensembles' networks; they are called {FAMILY}PLAN+F, with PLAN "
            f"one of {', '.join(PLANS)} and F more filters, and +conv at the end for one more convolution."
        )
    return Variant(read[1], int(read[2]), read[3] is not None)


def variants(plan: str, count: int) -> tuple[str, ...]:
    """Registered names of `count` different versions of a plan, the one without anything extra first."""
    step = round(WIDER * PLANS[plan].filters[0])
    names = [f"{FAMILY}{plan}+{step * (i // 2)}{'+conv' * (i % 2)}" for i in range(1, count)]
    return BASES[plan], *names


def _convolutions(channels: int, width: int, count: int) -> Iterator[nn.Module]:
    for _ in range(count):
        yield from (nn.Conv2d(channels, width, 3, padding=1), nn.ReLU())
        channels = width


def _halving() -> nn.Module:
    return nn.MaxPool2d(2, ceil_mode=True)
