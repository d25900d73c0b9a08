"""Every error that a user can cause, as one tree. Each message is one sentence: what, where, what to do.

RobustError
├── UnknownNameError       a name that no registry knows
├── DuplicateNameError     two things registered under one name
├── SettingsError          an option or parameter that cannot be right
├── DeviceError            a device that this machine does not have
├── DataError              images or labels that break the contract of a Split
│   └── MissingDataError   files that are not under the data root
├── ModelError             a network that is not a classifier from [0, 1] images to logits
├── FamilyError            a family of networks that is not whole, or whose networks do not compare
├── AttackError            an attack that cannot run, or whose output breaks the contract
├── DefenseError           a defense whose decision breaks the contract
├── ClaimError             a claim that names a figure its paper's file does not have
├── UnsoundEvaluationError an evaluation that shows signs of being broken
├── GateError              a robust.toml, or a baseline for it, that cannot be right
└── CacheError             a cache folder that cannot be used
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor


class RobustError(Exception):
    """Base of every error that pytest-robust raises for something a user can mend."""


class UnknownNameError(RobustError):
    """A name that nobody registered; the message lists the known names and the nearest one."""


class DuplicateNameError(RobustError):
    """Two registrations under one name; the message names both."""


class SettingsError(RobustError):
    """An option or a parameter that cannot be right."""


class DeviceError(RobustError):
    """A device that this machine does not have."""


class DataError(RobustError):
    """Images or labels that break the contract of a `Split`, or files with the wrong content."""


class MissingDataError(DataError):
    """A data set's files are not there; the message holds the command that would get them."""


class ModelError(RobustError):
    """A network that is not a classifier from [0, 1] images to logits."""


class FamilyError(RobustError):
    """A family of networks that is not whole, or whose networks cannot be compared on the same images."""


class AttackError(RobustError):
    """An attack that cannot run here, or whose output breaks the contract."""


class DefenseError(RobustError):
    """A defense whose decision breaks the contract; the message names the defense and the field."""


class ClaimError(RobustError):
    """A claim that names a figure which its paper's file does not have."""


class UnsoundEvaluationError(RobustError):
    """An evaluation that shows signs of being broken; the message holds the checks that were raised."""


class GateError(RobustError):
    """A robust.toml, or a baseline for it, that cannot be right; the message begins with the file and the line."""


class CacheError(RobustError):
    """A cache folder that cannot be used."""


class InvarianceError(AssertionError):
    """A failed `pytest_robust.strategies.assert_invariant`: no mistake of the user's, so no RobustError.

    Args:
        text: the answers, the perturbation and its size.
        clean: the image, float32 of shape (C, H, W).
        perturbed: likewise.
    """

    def __init__(self, text: str, clean: Tensor, perturbed: Tensor) -> None:
        super().__init__(text)
        self.images = clean, perturbed
        #: The picture of both, once it is saved.
        self.saved: Path | None = None

    def __reduce__(self) -> tuple[type[InvarianceError], tuple[str, Tensor, Tensor]]:
        """Pickled by its arguments, which an exception otherwise is only by its text."""
        return type(self), (str(self), *self.images)


class UnreliableEvaluationWarning(UserWarning):
    """Figures that prove nothing, because a check on the attack behind them was raised; a claim on them fails."""


class TrainModeWarning(UserWarning):
    """A model was handed over in train mode; it is evaluated in eval mode and put back afterwards."""
