"""How many CPU threads a computation takes: one where the images are so small that threads only wait for each other."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

Result = TypeVar("Result")

#: Channels × height × width up to which images count as tiny. Measured on two cores with 8×8 images: one thread is as
#: fast as two on a quiet machine, and seventy times as fast (9141 against 128 images a second) on a busy one, where
#: threads that wait for each other are scheduled apart.
TINY = 16 * 16


def is_tiny(input_shape: tuple[int, ...]) -> bool:
    """Whether images of this shape (C, H, W) are so small that parallelism and short floats only cost."""
    return math.prod(input_shape) <= TINY


@contextmanager
def suitable_threads(input_shape: tuple[int, ...], device: torch.device) -> Iterator[None]:
    """One CPU thread inside the block if the images are tiny; afterwards as many as before.

    It depends on the shape alone, so that a recipe of tiny images adds up in the same order in every process. On larger
    ones another number of threads can change the last bits of trained weights.
    """
    with _threads(1 if device.type == "cpu" and is_tiny(input_shape) else torch.get_num_threads()):
        yield


def map_in_threads(function: Callable[..., Result], *items: Iterable[object]) -> list[Result]:
    """``list(map(function, *items))``, several calls at a time, as many as torch has threads, each in one thread.

    For functions that leave the interpreter's lock alone for most of their time, as torch's and OpenCV's do: many small
    computations side by side never wait for each other, as the threads inside one of them do.
    """
    count = torch.get_num_threads()
    # A thread of the pool takes over how many threads torch has when it asks torch for the first time.
    with _threads(1), ThreadPoolExecutor(count) as pool:
        return list(pool.map(function, *items))


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """`count` threads of torch inside the block; afterwards as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
