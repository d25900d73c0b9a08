"""A family of your own: eight small ImageNet networks, from safetensors in the folder SMALL_IMAGENET_WEIGHTS."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from networks import EfficientNetLite, MobileNetV1, MobileNetV2, SqueezeNet
from torch import Tensor, nn

from pytest_robust import Member
from pytest_robust.errors import FamilyError
from pytest_robust.models.weights import fill, read_weights

#: Name, which is the file's too; how it is built; its group; its input size; the published top-1 accuracy.
NETWORKS = (
    ("mobilenet_v1_025_128", lambda: MobileNetV1(0.25), "mobilenet", 128, 0.395),
    ("mobilenet_v1_050_160", lambda: MobileNetV1(0.5), "mobilenet", 160, 0.572),
    ("squeezenet_v10", lambda: SqueezeNet("1.0"), "squeezenet", 227, 0.575),
    ("squeezenet_v11", lambda: SqueezeNet("1.1"), "squeezenet", 227, 0.575),
    ("mobilenet_v1_075_192", lambda: MobileNetV1(0.75), "mobilenet", 192, 0.661),
    ("mobilenet_v2_100_224", MobileNetV2, "mobilenet", 224, 0.708),
    ("efficientnet_lite0", EfficientNetLite, "efficientnet", 224, 0.751),
    ("efficientnet_lite1", lambda: EfficientNetLite(depth=1.1), "efficientnet", 240, 0.767),
)


def models() -> dict[str, Member]:
    """The eight networks; where one cannot be loaded there is no family.

    Raises:
        FamilyError: nobody says where the weights are.
        ModelError: a file is not there, or does not fit.
    """
    if "SMALL_IMAGENET_WEIGHTS" not in os.environ:
        raise FamilyError("the variable SMALL_IMAGENET_WEIGHTS is not set: set it to the folder of NAME.safetensors.")
    folder = Path(os.environ["SMALL_IMAGENET_WEIGHTS"])
    return {
        name: Member(loaded(build(), folder / f"{name}.safetensors"), group, accuracy, input_size=size)
        for name, build, group, size, accuracy in NETWORKS
    }


def loaded(network: nn.Module, path: Path) -> nn.Module:
    """`network` with the weights of a file, 16-bit floats or bytes, as 32-bit floats."""
    fill(network, dequantised(read_weights(path)), str(path))
    # Channels last: on a CPU these convolutions take a third less time.
    return network.eval().to(memory_format=torch.channels_last)


def dequantised(stored: dict[str, Tensor]) -> dict[str, Tensor]:
    """Bytes ``KEY.q`` as (byte − ``KEY.zp``) × ``KEY.scale``, everything else as it is."""
    state = {}
    for key, value in stored.items():
        weight, _, part = key.rpartition(".")
        if part == "q":
            state[weight] = (value.float() - stored[f"{weight}.zp"].float()) * stored[f"{weight}.scale"].float()
        elif part not in ("scale", "zp"):
            state[key] = value
    return state
