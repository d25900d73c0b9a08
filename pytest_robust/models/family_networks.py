"""Eight small networks, from a linear one to a residual one: the built-in families for small images (our choice).

They are a ladder of capacity, to be trained alike. For images of any size.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from pytest_robust.models.convnets import Shape


def linear(num_classes: int, input_shape: Shape) -> nn.Module:
    """Softmax regression: one linear layer on the pixels."""
    return nn.Sequential(nn.Flatten(), nn.Linear(_size(input_shape), num_classes))


def mlp_narrow(num_classes: int, input_shape: Shape) -> nn.Module:
    """One hidden layer of 16 units with ReLU."""
    return _Mlp(16)(num_classes, input_shape)


def mlp_wide(num_classes: int, input_shape: Shape) -> nn.Module:
    """One hidden layer of 128 units with ReLU."""
    return _Mlp(128)(num_classes, input_shape)


@dataclass(frozen=True)
class _Mlp:
    units: int

    def __call__(self, num_classes: int, input_shape: Shape) -> nn.Module:
        hidden = [nn.Linear(_size(input_shape), self.units), nn.ReLU()]
        return nn.Sequential(nn.Flatten(), *hidden, nn.Linear(self.units, num_classes))


def _size(input_shape: Shape) -> int:
    c, h, w = input_shape
    return c * h * w


def convnet(num_classes: int, input_shape: Shape, widths: tuple[int, ...]) -> nn.Module:
    """Convolutions 3×3 of so many filters with ReLU, each pooled by two, and a linear layer."""
    (channels, h, w), layers = input_shape, list[nn.Module]()
    for width in widths:
        layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2, ceil_mode=True)]
        channels, h, w = width, -(-h // 2), -(-w // 2)
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * h * w, num_classes))


def convnet_8(num_classes: int, input_shape: Shape) -> nn.Module:
    """`convnet` with one convolution of 8 filters."""
    return convnet(num_classes, input_shape, (8,))


def convnet_16(num_classes: int, input_shape: Shape) -> nn.Module:
    """`convnet` with two convolutions of 16 filters."""
    return convnet(num_classes, input_shape, (16, 16))


def convnet_32(num_classes: int, input_shape: Shape) -> nn.Module:
    """`convnet` with two convolutions of 32 and 64 filters."""
    return convnet(num_classes, input_shape, (32, 64))


class Residual(nn.Module):
    """Two convolutions 3×3 with batch normalisation, added to their input (arXiv:1512.03385).

    Args:
        channels: of the input.
        width: filters of both convolutions; where they are more than `channels`, the image is halved.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        stride = 1 if channels == width else 2
        self.first = nn.Conv2d(channels, width, 3, stride, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(width)
        self.second = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(width)
        self.shortcut = nn.Identity() if channels == width else nn.Conv2d(channels, width, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """From (N, channels, H, W) to (N, width, H, W), or half as high and wide."""
        inner = F.relu(self.first_norm(self.first(x)))
        inner = self.second_norm(self.second(inner))
        out: Tensor = F.relu(inner + self.shortcut(x))
        return out


def resnet(num_classes: int, input_shape: Shape, widths: tuple[int, ...]) -> nn.Module:
    """A convolution 3×3, a residual block for each of `widths`, the mean of each filter, a linear layer."""
    first = widths[0]
    stem = [nn.Conv2d(input_shape[0], first, 3, padding=1, bias=False), nn.BatchNorm2d(first), nn.ReLU()]
    blocks = [Residual(a, b) for a, b in zip((first, *widths[:-1]), widths, strict=True)]
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(widths[-1], num_classes))


def resnet_small(num_classes: int, input_shape: Shape) -> nn.Module:
    """`resnet` with blocks of 8 and 16 filters."""
    return resnet(num_classes, input_shape, (8, 16))


def resnet_large(num_classes: int, input_shape: Shape) -> nn.Module:
    """`resnet` with blocks of 16, 32 and 64 filters."""
    return resnet(num_classes, input_shape, (16, 32, 64))
