"""Which device a process uses: what can be told without importing torch, and one GPU per xdist worker in turn."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable

import pytest

#: Device files of NVIDIA, Jetson, WSL and AMD; without one of them no PyTorch for Linux finds a GPU.
_ACCELERATOR_FILES = ("/dev/nvidiactl", "/dev/nvmap", "/dev/dxg", "/dev/kfd")


def worker_device(device: str, worker: str | None, count: int) -> str:
    """The device of one process: workers take `count` GPUs in turn, by the number at the end of their id.

    Only a plain "cuda" is dealt out: whoever writes "cuda:1" means it.
    """
    if device != "cuda" or worker is None or count < 2:
        return device
    number = re.search(r"\d+$", worker)
    return f"cuda:{int(number.group()) % count if number else 0}"


def session_device(device: str, worker: str | None) -> str:
    """`device` as the bench of this process takes it; imports torch only in a worker that may have several GPUs."""
    if worker is None or device not in ("auto", "cuda"):
        return device
    import torch

    if not torch.cuda.is_available():
        return device
    return worker_device("cuda", worker, torch.cuda.device_count())


def described(device: str) -> str:
    """`device` for the report header; "auto" says what it comes to where that can be told for nothing."""
    if device != "auto":
        return device
    known = "torch" in sys.modules or no_accelerator(sys.platform, os.path.exists)
    return f"auto ({came_to(device)})" if known else "auto"


def came_to(device: str) -> str:
    """What `device` came to, for reports; torch is imported only where there may be a GPU."""
    if device != "auto":
        return device
    if "torch" not in sys.modules and no_accelerator(sys.platform, os.path.exists):
        return "cpu"
    from pytest_robust.bench.settings import resolve_device

    return str(resolve_device(device))


def no_accelerator(platform: str, exists: Callable[[str], bool]) -> bool:
    """Whether a GPU can be ruled out without asking torch: on Linux, where every driver leaves a device file."""
    return platform == "linux" and not any(exists(path) for path in _ACCELERATOR_FILES)


def share_cores(config: pytest.Config) -> None:
    """Give this xdist worker its share of the cores: threads of workers that wait for each other are slow.

    OMP_NUM_THREADS, where the user has set it, is kept.
    """
    if "OMP_NUM_THREADS" in os.environ:
        return
    import torch

    workers = int(config.workerinput["workercount"])  # type: ignore[attr-defined]  # set by pytest-xdist
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // workers))
