"""How many images a network answers at once, without gradients."""

from __future__ import annotations

import math

import torch

#: For images of ordinary size, and on accelerators.
IMAGES = 512
#: Channels × height × width up to which images are of ordinary size: twice those of CIFAR and no photographs.
ORDINARY = 6144
#: Values of a batch of larger images on a CPU. Beyond that, each layer's output is memory that the allocator asks the
#: system for anew: a MobileNet V2 took 38 ms of CPU time per 224×224 image in batches of 64, 26 in 8 and 18 in 4.
CPU_VALUES = 1 << 20


def answer_batch(input_shape: tuple[int, ...], device: torch.device) -> int:
    """Images per batch for images of shape (C, H, W) on `device`, at least one."""
    values = math.prod(input_shape)
    return IMAGES if values <= ORDINARY or device.type != "cpu" else max(1, min(IMAGES, CPU_VALUES // values))
