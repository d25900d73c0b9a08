"""A checkpoint: where a training stands after an epoch, complete enough that going on gives the same bits."""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pytest_robust.errors import CacheError
from pytest_robust.store.sealed import DamagedFileError, read_sealed, write_sealed

#: At least so long between two checkpoints, so that tiny trainings do not pay for any.
CHECKPOINT_SECONDS = 5.0


class DamagedCheckpointWarning(UserWarning):
    """A checkpoint could not be used; training starts from the beginning."""


@dataclass
class TrainingState:
    """Where a training stands.

    Args:
        epoch: epochs done.
        seconds: spent training, over all resumed runs.
        train_loss: mean cross-entropy over the last epoch, while it trained.
        train_accuracy: share of right answers over the last epoch, while it trained (with dropout).
        validation_accuracy: after the last epoch; None without validation images.
        best_epoch: the epoch whose weights are the best so far; 0 before there is one.
        best_accuracy: its validation accuracy.
        best_weights: the network's weights and buffers after it; empty without validation images.
    """

    epoch: int = 0
    seconds: float = 0.0
    train_loss: float | None = None
    train_accuracy: float | None = None
    validation_accuracy: float | None = None
    best_epoch: int = 0
    best_accuracy: float | None = None
    best_weights: dict[str, Tensor] = field(default_factory=dict, repr=False)

    def figures(self) -> dict[str, Any]:
        """All but the weights, as plain data."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "best_weights"}


class Checkpoint:
    """The file in which one training keeps its state; safetensors, written atomically.

    Args:
        path: the file.
        identity: fingerprint of what determines the training; the checkpoint of another one is not resumed.
    """

    def __init__(self, path: Path, identity: str) -> None:
        self._path = path
        self._identity = identity
        self._last = time.monotonic()

    def save(self, network: nn.Module, optimizer: torch.optim.Optimizer, state: TrainingState) -> None:
        """Keep everything that the next epoch starts from, unless that was done a moment ago.

        Raises:
            CacheError: the file cannot be written.
        """
        if time.monotonic() - self._last < CHECKPOINT_SECONDS:
            return
        tensors = {f"network.{k}": v for k, v in network.state_dict().items()}
        tensors |= {f"best.{k}": v for k, v in state.best_weights.items()}
        for index, values in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{k}": v for k, v in values.items() if isinstance(v, Tensor)}
        try:
            write_sealed(self._path, tensors, {"identity": self._identity, "figures": state.figures()})
        except OSError as error:
            raise CacheError(f"the checkpoint {self._path} cannot be written: {error.strerror}.") from error
        self._last = time.monotonic()

    def restore(self, network: nn.Module, optimizer: torch.optim.Optimizer) -> TrainingState:
        """Put `network` and `optimizer` where the checkpoint left them; without one they stay as they are.

        Warns:
            DamagedCheckpointWarning: the checkpoint is damaged or another training's, and is ignored.
        """
        try:
            tensors, figures = self._read()
        except FileNotFoundError:
            return TrainingState()
        except (DamagedFileError, OSError) as error:
            warnings.warn(
                f"the checkpoint {self._path} is ignored and training starts anew: {error}.",
                DamagedCheckpointWarning,
                stacklevel=2,
            )
            return TrainingState()
        network.load_state_dict(_under("network.", tensors))
        _restore_optimizer(optimizer, _under("optimizer.", tensors))
        device = next(iter(network.state_dict().values())).device
        best = {k: v.to(device) for k, v in _under("best.", tensors).items()}
        return TrainingState(**figures, best_weights=best)

    def _read(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        with self._path.open("rb") as file:
            tensors, about = read_sealed(file)
        if about.get("identity") != self._identity:
            raise DamagedFileError("it belongs to another training")
        return tensors, about["figures"]


def _restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        index, _, key = name.partition(".")
        parameter = parameters[int(index)]
        if value.shape == parameter.shape:
            # In the parameter's memory format: otherwise the fused step falls back to a slower one with other bits.
            value = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
        state.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
