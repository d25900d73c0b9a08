"""The families of pretrained ImageNet networks, as torchvision has them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_robust.models.family import Member
from pytest_robust.models.torchvision_weights import pretrained, published_accuracy

if TYPE_CHECKING:
    from pytest_robust.bench.bench import Bench

#: Rozsa et al., "Are Accuracy and Robustness Correlated?" (arXiv:1610.04563) compare AlexNet, two VGGs, two GoogLeNets
#: and three ResNets, from Caffe. torchvision has one GoogLeNet; its successor stands for the other (our choice).
PAPER: dict[str, str | None] = {
    "alexnet": None,
    "vgg16": "vgg",
    "vgg19": "vgg",
    "googlenet": "googlenet",
    "inception_v3": "googlenet",
    "resnet50": "resnet",
    "resnet101": "resnet",
    "resnet152": "resnet",
}
#: Networks of one to six million weights, for two CPU cores.
SMALL: dict[str, str | None] = {
    "squeezenet1_0": "squeezenet",
    "squeezenet1_1": "squeezenet",
    "shufflenet_v2_x0_5": "shufflenet",
    "shufflenet_v2_x1_0": "shufflenet",
    "mnasnet0_5": "mnasnet",
    "mnasnet1_0": "mnasnet",
    "mobilenet_v3_small": "mobilenet",
    "mobilenet_v2": "mobilenet",
}


def imagenet_paper(bench: Bench) -> dict[str, Member]:
    """AlexNet, VGG-16, VGG-19, GoogLeNet, Inception v3, ResNet-50, -101 and -152; 0.9 GB of weights.

    Raises:
        MissingDataError: a network's weights are not under the data root.
        DataError: a download fails.
        ModelError: a file is a pickle, damaged, or another network's.
    """
    return _members(bench, "imagenet-paper", PAPER)


def imagenet_small(bench: Bench) -> dict[str, Member]:
    """Two SqueezeNets, ShuffleNets, MNASNets and MobileNets; errors as in `imagenet_paper`."""
    return _members(bench, "imagenet-small", SMALL)


def _members(bench: Bench, family: str, networks: dict[str, str | None]) -> dict[str, Member]:
    source = bench.settings.source
    return {
        name: Member(pretrained(name, source, family), group, published_accuracy(name))
        for name, group in networks.items()
    }
