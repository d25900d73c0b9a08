"""Small networks and images for studies: linear ones, trained on nothing, that err now and then."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from pytest_robust.data.split import Split
from pytest_robust.models.classifier import Classifier

CLASSES, SHAPE = 3, (1, 8, 8)


class CountedImages:
    """A `Split` that counts how many of its images were read."""

    def __init__(self, split: Split, read: list[int] | None = None) -> None:
        self.split = split
        self.read = [] if read is None else read

    def __getattr__(self, name: str) -> object:
        return getattr(self.split, name)

    def __len__(self) -> int:
        return len(self.split)

    def subset(self, index: Tensor | Sequence[int]) -> CountedImages:
        return CountedImages(self.split.subset(index), self.read)

    def chunks(self, size: int) -> Iterator[Split]:
        for chunk in self.split.chunks(size):
            self.read.append(len(chunk))
            yield chunk


def linear(weight: Tensor, name: str) -> Classifier:
    """The linear network with these weights, of shape (classes, pixels), on images shifted to around zero."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, CLASSES))
    network[1].weight = nn.Parameter(weight)
    network[1].bias = nn.Parameter(-0.5 * weight.sum(1))
    return Classifier(network, num_classes=CLASSES, input_shape=SHAPE, name=name)


class Flat(nn.Module):
    """Always of the opinion that it is class 0, and without a gradient."""

    def forward(self, x: Tensor) -> Tensor:
        logits = torch.tensor([3.0, 1.0, 0.0]).expand(len(x), CLASSES)
        return logits + 0 * x.flatten(1).sum(1, keepdim=True)


def flat() -> Classifier:
    """`Flat` as a classifier."""
    return Classifier(Flat(), num_classes=CLASSES, input_shape=SHAPE, name="flat")


class Wary(nn.Module):
    """A network with one more output, "rejected", which is the largest unless one class is far ahead of the others."""

    def __init__(self, network: Classifier) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        logits = self.network(x)
        return torch.cat([logits, logits.topk(2, 1).values[:, 1:] + 2.0], 1)


def templates() -> Tensor:
    """A pattern of each class, of shape (classes, pixels)."""
    return torch.randn(CLASSES, 64, generator=torch.Generator().manual_seed(5))
