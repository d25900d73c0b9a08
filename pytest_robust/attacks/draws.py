"""Random numbers that belong to an image: the same in whatever batch it is, and whichever other images have left.

They are a hash of the seed, the image's number and what they are for (SplitMix64, Steele et al. 2014,
https://doi.org/10.1145/2660193.2660195), so nothing has to be drawn for images that do not need it any more.
"""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from pytest_robust.attacks.base import TorchAttack

#: 2⁶⁴ divided by the golden ratio, the increment of SplitMix64.
GOLDEN = 0x9E3779B97F4A7C15


def uniform(seed: int, use: tuple[int, ...], numbers: Tensor, count: int) -> Tensor:
    """`count` numbers for each image, float32 of shape (N, count), uniform in [0, 1) in steps of 2⁻²⁴.

    Args:
        seed: of the attack.
        use: what they are for (a restart, a step); other uses get other numbers.
        numbers: which images, int64 of shape (N,); their device is the result's.
        count: how many.
    """
    state = _mixed(numbers + 1)
    for part in (seed, *use):
        state = _mixed(state + _int64((part + 1) * GOLDEN))
    offsets = torch.arange(1, count + 1, device=numbers.device) * _int64(GOLDEN)
    bits = _shifted(_mixed(state[:, None] + offsets), 40)
    return bits.float() / 2**24


def signs(seed: int, use: tuple[int, ...], numbers: Tensor, count: int) -> Tensor:
    """As `uniform`, but -1 or 1, each half of the time."""
    return torch.where(uniform(seed, use, numbers, count) < 0.5, -1.0, 1.0)


def normal(seed: int, use: tuple[int, ...], numbers: Tensor, count: int) -> Tensor:
    """As `uniform`, but of the standard normal distribution."""
    centred = (uniform(seed, use, numbers, count) * 2 - 1 + 2**-24).clamp(-1 + 1e-7, 1 - 1e-7)
    return torch.erfinv(centred) * 2**0.5


class Numbered(TorchAttack):
    """An attack that knows each image's number, counted over the whole call from 0."""

    def _start(self) -> None:
        self._seen = 0

    def _attack(self, x: Tensor, y: Tensor) -> Tensor:
        first, self._seen = self._seen, self._seen + len(x)
        return self._attack_numbered(x, y, torch.arange(first, self._seen, device=x.device))

    @abstractmethod
    def _attack_numbered(self, x: Tensor, y: Tensor, numbers: Tensor) -> Tensor:
        """Perturbed images of one pool, on the model's device; `numbers` is int64 of shape (N,)."""


def _mixed(state: Tensor) -> Tensor:
    """SplitMix64's finaliser: a bijection of 64 bits in which every bit of the input reaches every bit."""
    state = (state ^ _shifted(state, 30)) * _int64(0xBF58476D1CE4E5B9)
    state = (state ^ _shifted(state, 27)) * _int64(0x94D049BB133111EB)
    return state ^ _shifted(state, 31)


def _shifted(state: Tensor, bits: int) -> Tensor:
    # torch has no unsigned shift: the copies of the sign that come in from the left are masked away.
    return (state >> bits) & ((1 << (64 - bits)) - 1)


def _int64(value: int) -> int:
    """`value` modulo 2⁶⁴ as torch's int64 holds it."""
    value %= 1 << 64
    return value - (1 << 64) if value >= 1 << 63 else value
