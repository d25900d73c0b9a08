"""The fingerprint of what a network holds beside its weights: settings, functions, and objects with their state.

What cannot be looked into (a lock, a handle of a C library) is equal to itself alone, and that for as long as the
process lives: its network is then computed anew in every session, and never gets another one's results.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from types import FunctionType, MethodType, ModuleType, NoneType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pytest_robust.store.code import users_code_fingerprint
from pytest_robust.store.fingerprint import fingerprint, tensors_fingerprint
from pytest_robust.store.live_code import bytecode, functions_of, names_of

_PLAIN = (NoneType, bool, int, float, str, bytes, Path, np.generic)
#: torch's own names of things: they print as what they are.
_NAMES = (torch.dtype, torch.device, torch.memory_format, torch.layout)
#: From so many objects on, a network holds half a program, a trainer for instance, and is not looked through (ours).
MOST = 10_000

# Objects that nobody can look into, alive, so that no other one gets their address; each with a name of its own.
_opaque: dict[int, tuple[object, str]] = {}


class HeldValues:
    """Fingerprints of values, of which each counts where it is met first, and later by the place where that was.

    So a cycle ends, and objects that share another one do not multiply.

    Args:
        of_module: the fingerprint of a network that is met in a value, its weights included.
        named: modules that are counted elsewhere, by name: the network that holds the values.
    """

    def __init__(self, of_module: Callable[[nn.Module, HeldValues], str], named: dict[str, nn.Module]) -> None:
        self._of_module = of_module
        self._met: dict[int, tuple[object, str]] = {}
        self.name(named)

    def name(self, modules: dict[str, nn.Module]) -> None:
        """Let modules that are about to be counted elsewhere count by their names from now on."""
        start = len(self._met)
        self._met |= {id(module): (module, f"module {start}.{name}") for name, module in modules.items()}

    def of(self, value: Any) -> str:
        """The fingerprint of any value, the same in every process unless something in it cannot be looked into."""
        if isinstance(value, Tensor):
            return self._of_tensor(value)
        if isinstance(value, _NAMES):
            return fingerprint(f"{type(value).__name__} {value}")
        if type(value) in _PLAIN or isinstance(value, (Path, np.generic)) or _known(value):
            return fingerprint(value)
        if isinstance(value, Enum):
            return fingerprint([_kind(type(value)), value.name])
        if type(value) is tuple:
            return fingerprint([self.of(each) for each in value])
        return self._of_met(value)

    def _of_tensor(self, value: Tensor) -> str:
        try:
            return tensors_fingerprint({"": value})
        except RuntimeError:  # one without data
            return _token(value)

    def _of_met(self, value: Any) -> str:
        if id(value) in self._met:
            return fingerprint(["met before", self._met[id(value)][1]])
        if len(self._met) >= MOST:
            return _token(value)
        self._met[id(value)] = value, f"{len(self._met)}"
        if isinstance(value, nn.Module):  # one that is no child: in a closure, a global, or in a plain list
            return self._of_module(value, self)
        if type(value) is list:
            return fingerprint([self.of(each) for each in value])
        if type(value) is dict:
            return fingerprint([[self.of(key), self.of(each)] for key, each in value.items()])
        if type(value) in (set, frozenset):  # in no order, so that no element may count by its place
            return fingerprint({HeldValues(self._of_module, {}).of(each) for each in value})
        if isinstance(value, FunctionType):
            return self._of_function(value)
        if isinstance(value, MethodType):
            return fingerprint([self.of(value.__func__), self.of(value.__self__)])
        if isinstance(value, ModuleType):
            return fingerprint(["module", value.__name__])
        if isinstance(value, type):
            return self.of_class(value)
        return self._of_object(value)

    def of_class(self, kind: type) -> str:
        """Of a class: its name and code. One that a function made can close over what the function was given."""
        inside = [self.of(each) for each in functions_of(kind)] if "<locals>" in kind.__qualname__ else []
        return fingerprint([_kind(kind), users_code_fingerprint(kind), inside])

    def _of_object(self, value: Any) -> str:
        """Of its class and its state: what pickle would write, and its attributes where it writes otherwise."""
        kind = type(value)
        attributes = getattr(value, "__dict__", {})  # asked for first: a partial has none until somebody asks
        try:
            reduced = value.__reduce_ex__(4)
        except Exception:  # any: it is the object's own code
            return _token(value)
        if isinstance(reduced, str):  # the name of a global
            return fingerprint([_kind(kind), reduced])
        make, *state = reduced
        # Its items come as iterators.
        parts = [list(part) if place >= 2 and part is not None else part for place, part in enumerate(state)]
        own = {} if getattr(make, "__name__", "") == "__newobj__" else attributes
        return fingerprint([self.of_class(kind), *(self.of(part) for part in (make, *parts, own))])

    def _of_function(self, function: FunctionType) -> str:
        """Of its code, its defaults, and the values that it closes over or finds among its module's globals."""
        # By name, so that None in one of two variables is not None in the other.
        closed = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
        cells = {name: cell.cell_contents for name, cell in closed if _is_filled(cell)}
        used = {
            name: function.__globals__[name] for name in names_of(function.__code__) if name in function.__globals__
        }
        found = {name: self.of(each) for name, each in sorted(used.items()) if not isinstance(each, ModuleType)}
        held = [self.of(each) for each in (cells, function.__defaults__, function.__kwdefaults__, vars(function))]
        return fingerprint(
            [function.__qualname__, users_code_fingerprint(function), bytecode(function.__code__), held, found]
        )


def _known(value: Any) -> bool:
    return not isinstance(value, type) and isinstance(getattr(value, "fingerprint", None), str)


def _kind(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _token(value: object) -> str:
    return _opaque.setdefault(id(value), (value, uuid.uuid4().hex))[1]


def _is_filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018 (asking is the test)
    except ValueError:  # not assigned yet
        return False
    return True
