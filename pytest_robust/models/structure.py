"""The fingerprint of a network's structure: its modules, their settings and their code, but not its weights.

Weights alone do not say what a network answers: two that differ by an activation, a dropout rate or a temperature
can have the same ones.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from pytest_robust.models.held_values import HeldValues
from pytest_robust.store.fingerprint import fingerprint, tensors_fingerprint

_OWN = frozenset(vars(nn.Module())) | {"training"}
#: Where torch's scripted, exported and compiled modules come from. What they hold beside their code and their modules
#: are handles that nobody can look into.
_HANDLES = ("torch.jit.", "torch.fx.", "torch._dynamo.")
#: Where a module keeps its hooks.
_HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")


def structure_fingerprint(network: nn.Module) -> str:
    """Of every module in `network`: its place, its class, the code of that class, and the attributes set on it.

    An object counts by its class and its state, a function by its code and by what it closes over or finds among the
    globals; hooks are functions of the module, those of the backward pass too, as attacks follow the gradient. What
    cannot be looked into is equal to itself alone. A class can name attributes that its fingerprint need not count (a
    tuple ``counted_otherwise``).
    """
    return _structure(network, HeldValues(_with_weights, dict(network.named_modules())))


def value_fingerprint(value: object) -> str:
    """Of any value, a parameter for instance: equal ones of one class have equal fingerprints, others never."""
    return HeldValues(_with_weights, {}).of(value)


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
    values = HeldValues(_with_weights, {"": module, **dict(module.named_modules())})
    kind, code, attributes, hooks = _module(module, values)
    return fingerprint([kind, code, hooks, {name: value for name, value in attributes.items() if name not in apart}])


def _structure(network: nn.Module, values: HeldValues) -> str:
    return fingerprint([[name, *_module(module, values)] for name, module in network.named_modules()])


def _with_weights(network: nn.Module, values: HeldValues) -> str:
    values.name(dict(network.named_modules()))
    return fingerprint([_structure(network, values), tensors_fingerprint(all_tensors(network))])


def _module(module: nn.Module, values: HeldValues) -> list[Any]:
    kind = type(module)
    # torch's own code counts by torch's version, which is in the keys; a base class may stand in another file.
    bases = [base for base in kind.__mro__ if not base.__module__.startswith(("torch.nn.", "builtins"))]
    code = [values.of_class(base) for base in bases]
    of = _handle if kind.__module__.startswith(_HANDLES) else values.of
    attributes = {name: of(value) for name, value in vars(module).items() if _counts(kind, name)}
    hooks = [list(getattr(module, each, {}).values()) for each in _HOOKS]
    return [
        f"{kind.__module__}.{kind.__qualname__}",
        [*code, *_script(module)],
        attributes,
        [[values.of(hook) for hook in each] for each in hooks],
    ]


def _script(module: nn.Module) -> list[str]:
    """The code of a scripted module, which is nobody's source file."""
    if not isinstance(module, torch.jit.ScriptModule):
        return []
    try:
        return [fingerprint(str(module.inlined_graph))]
    except (AttributeError, RuntimeError):  # it has no forward
        return []


def _handle(value: Any) -> str:
    try:
        return fingerprint(value)
    except (TypeError, RuntimeError):  # no plain data; a tensor without data
        return f"{type(value).__module__}.{type(value).__qualname__}"


def _counts(kind: type, name: str) -> bool:
    """Not what every module has, not what a cached property left behind, and not what the class counts otherwise."""
    if name in _OWN or name in getattr(kind, "counted_otherwise", ()):
        return False
    return not isinstance(getattr(kind, name, None), cached_property)
