"""The fingerprint of a network's structure: its modules, their settings and their code, but not its weights.

Weights alone do not say what a network answers: two that differ by an activation, a dropout rate or a temperature
can have the same ones.
"""

from __future__ import annotations

from functools import cached_property
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from pytest_robust.store.code import users_code_fingerprint
from pytest_robust.store.fingerprint import fingerprint, tensors_fingerprint

_OWN = frozenset(vars(nn.Module())) | {"training"}


def structure_fingerprint(network: nn.Module) -> str:
    """Of every module in `network`: its place, its class, the code of that class, and the attributes set on it.

    An attribute that is no plain data counts by its type's name and code, a function by its code and by what it
    closes over or finds among the globals; forward hooks are functions of the module.
    """
    return fingerprint([[name, *_module(module)] for name, module in network.named_modules()])


def all_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Weights and buffers, those that are not saved included."""
    return {**module.state_dict(), **dict(module.named_buffers())}


def tensors_version(tensors: dict[str, Tensor]) -> tuple[tuple[int, int, int], ...]:
    """What changes when weights do, at a small part of a hash's cost: addresses, torch's versions, sums of the bits.

    The sums see what is written through `.data`, of which torch's versions know nothing.
    """
    return tuple((t.data_ptr(), 0 if t.is_inference() else t._version, _checksum(t)) for t in tensors.values())


def _checksum(tensor: Tensor) -> int:
    """Sum of the bits, each element's times an odd number of its own: a permutation changes it as well."""
    sizes = {2: torch.int16, 4: torch.int32, 8: torch.int64}
    flat = tensor.detach().contiguous().flatten()
    if flat.is_complex():
        flat = torch.view_as_real(flat).flatten()
    bits = flat.view(sizes.get(flat.element_size(), torch.uint8)).long()
    return int((bits * torch.arange(1, 2 * len(bits), 2, device=bits.device)).sum())


def own_fingerprint(module: nn.Module, *, apart: frozenset[str]) -> str:
    """Of a module's class, its code, and its own attributes, but for those in `apart`; not of its children."""
    kind, code, attributes, hooks = _module(module)
    return fingerprint([kind, code, hooks, {name: value for name, value in attributes.items() if name not in apart}])


def _module(module: nn.Module) -> list[Any]:
    kind = type(module)
    # torch's own code counts by torch's version, which is in the keys; a base class may stand in another file.
    bases = [base for base in kind.__mro__ if not base.__module__.startswith(("torch.nn.", "builtins"))]
    code = [users_code_fingerprint(base) for base in bases]
    attributes = {name: _value(value) for name, value in vars(module).items() if _counts(kind, name)}
    hooks = [*module._forward_pre_hooks.values(), *module._forward_hooks.values()]
    return [f"{kind.__module__}.{kind.__qualname__}", code, attributes, [_value(hook) for hook in hooks]]


def _counts(kind: type, name: str) -> bool:
    """Not what every module has, and not what a cached property has left behind once it was asked."""
    return name not in _OWN and not isinstance(getattr(kind, name, None), cached_property)


def _value(value: Any, seen: frozenset[int] = frozenset()) -> str:
    if isinstance(value, nn.Module):  # one that is no child: in a closure, a global, or in a plain list
        return fingerprint([structure_fingerprint(value), tensors_fingerprint(all_tensors(value))])
    if isinstance(value, Tensor):
        return tensors_fingerprint({"": value})
    if isinstance(value, (list, tuple)):
        return fingerprint([_value(each, seen) for each in value])
    if isinstance(value, dict):
        return fingerprint([[str(key), _value(each, seen)] for key, each in value.items()])
    try:
        return fingerprint(value)
    except TypeError:
        pass
    if isinstance(value, MethodType):
        value = value.__func__
    if isinstance(value, FunctionType):
        return _function(value, seen)
    kind = value if isinstance(value, type) else type(value)
    return fingerprint([f"{kind.__module__}.{kind.__qualname__}", users_code_fingerprint(kind)])


def _function(function: FunctionType, seen: frozenset[int]) -> str:
    """Of a function's code, its defaults, and the values that it closes over or finds among its module's globals."""
    if id(function) in seen:  # it calls itself, directly or not
        return function.__qualname__
    seen |= {id(function)}
    held = [
        _value(cell.cell_contents, seen) for cell in function.__closure__ or () if cell.cell_contents is not function
    ]
    defaults = [_value(value, seen) for value in function.__defaults__ or ()]
    used = {name: function.__globals__[name] for name in _names(function.__code__) if name in function.__globals__}
    found = {name: _value(value, seen) for name, value in sorted(used.items()) if not isinstance(value, ModuleType)}
    return fingerprint([function.__qualname__, users_code_fingerprint(function), held, defaults, found])


def _names(code: CodeType) -> set[str]:
    """Names that the code, or a function inside it, looks up outside itself."""
    inner = [_names(constant) for constant in code.co_consts if isinstance(constant, CodeType)]
    return set(code.co_names).union(*inner)
