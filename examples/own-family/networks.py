"""Four small ImageNet architectures. Each takes RGB images in [0, 1], scales them itself, and gives 1,000 logits."""

from __future__ import annotations

import math
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class SameConv(nn.Conv2d):
    """A convolution that pads as TensorFlow's SAME does: at stride 2 one pixel more on the right and below."""

    def forward(self, x: Tensor) -> Tensor:
        kernel, stride = self.kernel_size[0], self.stride[0]
        high, wide = (max((math.ceil(n / stride) - 1) * stride + kernel - n, 0) for n in x.shape[2:])
        if high or wide:
            x = F.pad(x, (wide // 2, wide - wide // 2, high // 2, high - high // 2))
        return F.conv2d(x, self.weight, self.bias, self.stride, 0, 1, self.groups)


def without_background(logits: Tensor) -> Tensor:
    """1,001 maps (N, 1001, 1, 1) without the first class, which stands for none of the others."""
    return logits.flatten(1)[:, 1:]


class MobileNetV1(nn.Module):
    """MobileNet (arXiv:1704.04861), batch normalisation folded into its convolutions.

    Args:
        width: share of the filters.
    """

    #: Filters at full width, and stride, of each depthwise separable block.
    BLOCKS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1))

    def __init__(self, width: float = 1.0) -> None:
        super().__init__()
        channels = max(8, int(32 * width))
        self.convs = nn.ModuleList([SameConv(3, channels, 3, 2)])
        for filters, stride in self.BLOCKS:
            out = max(8, int(filters * width))
            self.convs += [SameConv(channels, channels, 3, stride, groups=channels), SameConv(channels, out, 1)]
            channels = out
        self.fc = nn.Conv2d(channels, 1001, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = (x * 255 - 128) / 128
        for conv in self.convs:
            x = F.relu6(conv(x))
        return without_background(self.fc(x.mean((2, 3), keepdim=True)))


class Inverted(nn.Module):
    """An inverted residual block: wider, depthwise, narrower; batch normalisation folded in."""

    def __init__(self, channels: int, out: int, stride: int, expansion: int, residual: bool) -> None:
        super().__init__()
        inner = channels * expansion
        self.expand = SameConv(channels, inner, 1) if expansion > 1 else None
        self.dw = SameConv(inner, inner, 3, stride, groups=inner)
        self.project = SameConv(inner, out, 1)
        self.residual = residual

    def forward(self, x: Tensor) -> Tensor:
        inner = x if self.expand is None else F.relu6(self.expand(x))
        out = self.project(F.relu6(self.dw(inner)))
        return x + out if self.residual else out


class MobileNetV2(nn.Module):
    """MobileNetV2 (arXiv:1801.04381), batch normalisation folded into its convolutions."""

    #: Expansion, filters, repetitions, and stride of the first of them.
    STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))

    def __init__(self) -> None:
        super().__init__()
        self.stem = SameConv(3, 32, 3, 2)
        self.blocks, channels = nn.ModuleList(), 32
        for expansion, filters, repeats, stride in self.STAGES:
            for number in range(repeats):
                first = number == 0
                self.blocks.append(Inverted(channels, filters, stride if first else 1, expansion, residual=not first))
                channels = filters
        self.head = SameConv(channels, 1280, 1)
        self.fc = nn.Conv2d(1280, 1001, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu6(self.stem((x * 255 - 128) / 128))
        for block in self.blocks:
            x = block(x)
        return without_background(self.fc(F.relu6(self.head(x)).mean((2, 3), keepdim=True)))


class Fire(nn.Module):
    """Squeezed to few channels, then expanded by filters of 1×1 and 3×3 side by side."""

    def __init__(self, channels: int, squeezed: int, expanded: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, squeezed, 1)
        self.expand1x1 = nn.Conv2d(squeezed, expanded, 1)
        self.expand3x3 = nn.Conv2d(squeezed, expanded, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.squeeze(x))
        return torch.cat([F.relu(self.expand1x1(x)), F.relu(self.expand3x3(x))], 1)


class SqueezeNet(nn.Module):
    """SqueezeNet (arXiv:1602.07360) as Caffe runs it: BGR, 0 to 255 minus the channels' means, pooling rounded up.

    Args:
        version: "1.0" or "1.1".
    """

    #: Filters and kernel of the first convolution, and the numbers of the fire modules that a pooling follows.
    VERSIONS = MappingProxyType({"1.0": (96, 7, (2, 6)), "1.1": (64, 3, (1, 3))})
    FIRES = ((16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256))

    def __init__(self, version: str) -> None:
        super().__init__()
        channels, kernel, self.pooled = self.VERSIONS[version]
        self.conv1 = nn.Conv2d(3, channels, kernel, 2)
        self.fire = nn.ModuleList()
        for squeezed, expanded in self.FIRES:
            self.fire.append(Fire(channels, squeezed, expanded))
            channels = 2 * expanded
        self.conv10 = nn.Conv2d(channels, 1000, 1)
        self.register_buffer("means", torch.tensor([104.0, 117.0, 123.0]).view(1, 3, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self._pool(F.relu(self.conv1(x.flip(1) * 255 - self.means)))
        for number, fire in enumerate(self.fire):
            x = fire(x)
            if number in self.pooled:
                x = self._pool(x)
        return F.relu(self.conv10(x)).mean((2, 3))

    def _pool(self, x: Tensor) -> Tensor:
        return F.max_pool2d(x, 3, 2, ceil_mode=True)


class MBConv(nn.Module):
    """`Inverted` with batch normalisation of its own."""

    def __init__(self, channels: int, out: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = channels * expansion
        self.expand = None
        if expansion > 1:
            self.expand, self.bn0 = nn.Conv2d(channels, inner, 1, bias=False), nn.BatchNorm2d(inner, eps=1e-3)
        self.dw, self.bn1 = _depthwise(inner, kernel, stride), nn.BatchNorm2d(inner, eps=1e-3)
        self.project, self.bn2 = nn.Conv2d(inner, out, 1, bias=False), nn.BatchNorm2d(out, eps=1e-3)
        self.residual = stride == 1 and channels == out

    def forward(self, x: Tensor) -> Tensor:
        inner = x if self.expand is None else F.relu6(self.bn0(self.expand(x)))
        out = self.bn2(self.project(F.relu6(self.bn1(self.dw(inner)))))
        return x + out if self.residual else out


def _depthwise(channels: int, kernel: int, stride: int) -> SameConv:
    return SameConv(channels, channels, kernel, stride, groups=channels, bias=False)


class EfficientNetLite(nn.Module):
    """EfficientNet (arXiv:1905.11946) without squeeze and excitation, with ReLU6.

    Args:
        depth: how many times the repetitions of the middle stages.
    """

    #: Repetitions, kernel, stride of the first, expansion, filters.
    STAGES = (
        (1, 3, 1, 1, 16),
        (2, 3, 2, 6, 24),
        (2, 5, 2, 6, 40),
        (3, 3, 2, 6, 80),
        (3, 5, 1, 6, 112),
        (4, 5, 2, 6, 192),
        (1, 3, 1, 6, 320),
    )

    def __init__(self, depth: float = 1.0) -> None:
        super().__init__()
        self.stem, self.bn0 = SameConv(3, 32, 3, 2, bias=False), nn.BatchNorm2d(32, eps=1e-3)
        self.blocks, channels = nn.ModuleList(), 32
        for stage, (repeats, kernel, stride, expansion, filters) in enumerate(self.STAGES):
            middle = 0 < stage < len(self.STAGES) - 1
            for number in range(math.ceil(repeats * depth) if middle else repeats):
                first = number == 0
                self.blocks.append(MBConv(channels, filters, kernel, stride if first else 1, expansion))
                channels = filters
        self.head, self.bn1 = nn.Conv2d(channels, 1280, 1, bias=False), nn.BatchNorm2d(1280, eps=1e-3)
        self.fc = nn.Linear(1280, 1000)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu6(self.bn0(self.stem((x * 255 - 127) / 128)))
        for block in self.blocks:
            x = block(x)
        return self.fc(F.relu6(self.bn1(self.head(x))).mean((2, 3)))
