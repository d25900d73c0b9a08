"""Settings: what a user chose for a run, checked; and the device it runs on."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch

from pytest_robust.data.dataset import DataSource
from pytest_robust.errors import DeviceError, SettingsError
from pytest_robust.store.artifacts import default_root

Scale = Literal["quick", "paper"]


@dataclass(frozen=True)
class Settings:
    """The choices of one run; each is a command-line option of the same name.

    Args:
        dataset: registered name of the data set.
        family: the networks to compare: a registered name, ``FILE.py:FUNCTION`` or ``PACKAGE.MODULE:FUNCTION``; None
            is the family of the data set.
        scale: "quick" runs on two CPU cores in minutes; "paper" is the paper's own data, sizes and epochs.
        device: "auto", "cpu", "cuda", "cuda:N" or "mps".
        data_root: folder with the data sets' files, in torchvision's layout.
        download: whether missing files may be fetched.
        cache: folder of the artifact store.
        seed: from which every other seed is derived.
    """

    dataset: str = "digits"
    scale: Scale = "quick"
    device: str = "auto"
    data_root: Path | None = None
    download: bool = False
    cache: Path = field(default_factory=default_root)
    seed: int = 0
    family: str | None = None

    def __post_init__(self) -> None:
        if self.scale not in ("quick", "paper"):
            raise SettingsError(f"unknown scale {self.scale!r}: choose quick or paper.")
        if not isinstance(self.device, str):
            raise SettingsError(f"the device is {self.device!r}; name it: auto, cpu, cuda, cuda:N or mps.")
        # Seeds of roles are the run's plus some millions, and NumPy takes 32 bits.
        if not 0 <= self.seed < 2**31:
            raise SettingsError(f"the seed is {self.seed}, but seeds count from 0 to 2**31 - 1.")

    @property
    def source(self) -> DataSource:
        """Where data sets find their files."""
        return DataSource(self.data_root, self.download)


def resolve_device(name: str) -> torch.device:
    """The torch device behind a name; "auto" takes CUDA, then MPS, then the CPU.

    Raises:
        DeviceError: this machine does not have it, or there is no such name.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda", "mps"):
        raise DeviceError(f"unknown device {name!r}: choose auto, cpu, cuda, cuda:N or mps.")
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= count:
            has = f"{count} CUDA device(s)" if count else "no CUDA device that this PyTorch can use"
            raise DeviceError(f"the device {name!r} was asked for, but there is {has}: choose another --device.")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise DeviceError("the device 'mps' was asked for, but this machine has none: choose another --device.")
    return device
