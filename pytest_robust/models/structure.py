"""The fingerprint of a network's structure: its modules, their settings and their code, but not its weights.

Weights alone do not say what a network answers: two that differ by an activation, a dropout rate or a temperature
can have the same ones.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from types import FunctionType, MethodType
from typing import Any

from torch import Tensor, nn

from pytest_robust.store.fingerprint import fingerprint, source_fingerprint, tensors_fingerprint

_OWN = frozenset(vars(nn.Module())) | {"training"}


def structure_fingerprint(network: nn.Module) -> str:
    """Of every module in `network`: its place, its class, the code of that class, and the attributes set on it.

    An attribute that is no plain data counts by its type's name and code, a function by its code and by what it
    closes over.
    """
    return fingerprint([[name, *_module(module)] for name, module in network.named_modules()])


def all_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Weights and buffers, those that are not saved included."""
    return {**module.state_dict(), **dict(module.named_buffers())}


def own_fingerprint(module: nn.Module, *, apart: frozenset[str]) -> str:
    """Of a module's class, its code, and its own attributes, but for those in `apart`; not of its children."""
    kind, code, attributes = _module(module)
    return fingerprint([kind, code, {name: value for name, value in attributes.items() if name not in apart}])


def _module(module: nn.Module) -> list[Any]:
    kind = type(module)
    # torch's own code counts by torch's version, which is in the keys.
    code = "" if kind.__module__.startswith("torch.nn.") else source_fingerprint(kind)
    attributes = {name: _value(value) for name, value in vars(module).items() if _counts(kind, name)}
    return [f"{kind.__module__}.{kind.__qualname__}", code, attributes]


def _counts(kind: type, name: str) -> bool:
    """Not what every module has, and not what a cached property has left behind once it was asked."""
    return name not in _OWN and not isinstance(getattr(kind, name, None), cached_property)


def _value(value: Any) -> str:
    if isinstance(value, nn.Module):  # one that is no child: in a closure, or in a plain list
        return fingerprint([structure_fingerprint(value), tensors_fingerprint(all_tensors(value))])
    if isinstance(value, (list, tuple)):
        return fingerprint([_value(each) for each in value])
    if isinstance(value, dict):
        return fingerprint([[str(key), _value(each)] for key, each in value.items()])
    try:
        return fingerprint(value)
    except TypeError:
        pass
    if isinstance(value, (FunctionType, MethodType)):
        return _function(value)
    kind = value if isinstance(value, type) else type(value)
    return fingerprint([f"{kind.__module__}.{kind.__qualname__}", source_fingerprint(kind)])


def _function(function: Callable[..., Any]) -> str:
    cells = getattr(function, "__closure__", None) or ()
    held = [_value(cell.cell_contents) for cell in cells if cell.cell_contents is not function]
    defaults = [_value(value) for value in getattr(function, "__defaults__", None) or ()]
    return fingerprint([function.__qualname__, source_fingerprint(function), held, defaults])
