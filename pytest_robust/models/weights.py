"""A network's weights from a file: safetensors only, every key where it belongs, never a pickle."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from pytest_robust.errors import ModelError

#: How a zip archive (torch.save since 1.6) and a plain pickle begin. The length with which safetensors begins can start
#: alike, but an opening brace follows it.
_PICKLES = (b"PK\x03\x04", b"\x80")
_BRACE = 8
_SHOWN = 3


def load_weights(network: nn.Module, path: Path | str, *, ignoring: tuple[str, ...] = ()) -> nn.Module:
    """`network` with the weights of a safetensors file, converted to its own dtypes; every key must fit.

    Args:
        network: gets the weights, and is returned.
        path: the file.
        ignoring: beginnings of keys that need not be in the network (training-only heads).

    Raises:
        ModelError: no such file, a pickle, a damaged file, or keys that are missing, unexpected or of another shape.
    """
    state = read_weights(path)
    fill(network, {key: value for key, value in state.items() if not key.startswith(ignoring or "\0")}, str(path))
    return network


def read_weights(path: Path | str) -> dict[str, Tensor]:
    """The tensors of a safetensors file, by key.

    Raises:
        ModelError: no such file, a pickle, or a damaged file.
    """
    file = Path(path).expanduser()
    try:
        with file.open("rb") as opened:
            start = opened.read(_BRACE + 1)
        if start.startswith(_PICKLES) and start[_BRACE:] != b"{":
            raise ModelError(_refusal(file))
        state: dict[str, Tensor] = load_file(file)
    except OSError as error:
        raise ModelError(f"the weights {file} cannot be read: {error.strerror or error}.") from error
    except SafetensorError as error:
        raise ModelError(f"the weights {file} are no whole safetensors file ({error}): get the file anew.") from error
    return state


def _refusal(file: Path) -> str:
    new = file.with_suffix(".safetensors").name
    return (
        f"the weights {file} are a pickle, which can run any program when it is read, so they are refused: if you "
        'trust where they come from, convert them once with python -c "import torch, safetensors.torch as s; '
        f"s.save_file(torch.load('{file.name}', map_location='cpu', weights_only=True), '{new}')\"."
    )


def fill(network: nn.Module, state: dict[str, Tensor], where: str) -> None:
    """Load `state` into `network`.

    Raises:
        ModelError: a key is missing, unexpected, or of another shape; the message names the keys.
    """
    own = network.state_dict()
    shared = own.keys() & state.keys()
    wrong = {
        "missing": sorted(own.keys() - state.keys()),
        "unexpected": sorted(state.keys() - own.keys()),
        "of another shape": [
            f"{key} {tuple(state[key].shape)} instead of {tuple(own[key].shape)}"
            for key in sorted(shared)
            if state[key].shape != own[key].shape
        ],
    }
    if any(wrong.values()):
        said = "; ".join(f"{len(keys)} {kind} ({_some(keys)})" for kind, keys in wrong.items() if keys)
        raise ModelError(f"the weights {where} do not fit {type(network).__name__}, keys: {said}.")
    network.load_state_dict(state)


def _some(keys: list[str]) -> str:
    more = len(keys) - _SHOWN
    return ", ".join(keys[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def converted(pickled: Path, to: Path) -> None:
    """Write the state dict of a pickle, read without running what it holds, as safetensors.

    Raises:
        RuntimeError: it is no state dict.
    """
    try:
        state = torch.load(pickled, map_location="cpu", weights_only=True)
        tensors = {key: value.contiguous().clone() for key, value in state.items()}
    except Exception as error:
        raise RuntimeError(f"{pickled.name} holds no state dict: {error}") from error
    save_file(tensors, to)
