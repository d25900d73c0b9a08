"""The code of a module that has no file: what a notebook, or an interpreter, has defined so far.

As with a file, everything in it counts for whatever it defines: a function's code does not tell what else it calls.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FunctionType, ModuleType, NoneType
from typing import Any

from pytest_robust.store.fingerprint import fingerprint

_PLAIN = (NoneType, bool, int, float, str, bytes, Path)


def is_live(name: str) -> bool:
    """Whether a module was imported from no file, and is none of Python's own."""
    module = sys.modules.get(name)
    if module is None or (name != "__main__" and name.partition(".")[0] in sys.stdlib_module_names):
        return False
    return getattr(module, "__file__", None) is None and not hasattr(module, "__path__")


def live_fingerprint(name: str) -> str:
    """Of all functions and classes that a live module defines, and of the plain values that their code looks up.

    In no order and without names, so that to show a function again, which a notebook keeps under a name of its own,
    changes nothing.
    """
    space = vars(sys.modules[name])
    parts = {fingerprint(part) for value in space.values() for part in _parts(value, name)}
    used = {each for value in space.values() for code in _codes(value, name) for each in names_of(code)}
    constants = {each: space[each] for each in used if type(space.get(each, ...)) in _PLAIN}
    return fingerprint([sorted(parts), constants])


def live_imports(name: str) -> set[str]:
    """Names of the modules that a live module has, or has something of."""
    values = vars(sys.modules[name]).values()
    modules = {value.__name__ for value in values if isinstance(value, ModuleType)}
    return modules | {value.__module__ for value in values if isinstance(value, (FunctionType, type))} - {name}


def bytecode(code: CodeType) -> list[Any]:
    """What tells one function from another of the same name: two lambdas of a file, above all."""
    constants = [bytecode(each) if isinstance(each, CodeType) else _constant(each) for each in code.co_consts]
    return [code.co_code, list(code.co_names), constants]


def names_of(code: CodeType) -> set[str]:
    """Names that the code, or a function inside it, looks up outside itself."""
    inner = [names_of(constant) for constant in code.co_consts if isinstance(constant, CodeType)]
    return set(code.co_names).union(*inner)


def functions_of(kind: type) -> list[FunctionType]:
    """The functions that stand in a class, however they are wrapped there."""
    return [function for value in vars(kind).values() for function in _unwrapped(value)]


def _unwrapped(value: object) -> Iterator[FunctionType]:
    if isinstance(value, FunctionType):
        yield value
        yield from _unwrapped(getattr(value, "__wrapped__", None))  # what a decorator has around it
    elif isinstance(value, (staticmethod, classmethod)):
        yield from _unwrapped(value.__func__)
    elif isinstance(value, property):
        yield from (each for each in (value.fget, value.fset) if isinstance(each, FunctionType))
    elif isinstance(value, functools.cached_property):
        yield from _unwrapped(value.func)


def _codes(value: object, name: str) -> Iterator[CodeType]:
    if getattr(value, "__module__", None) != name:
        return
    if isinstance(value, FunctionType):
        yield from (function.__code__ for function in _unwrapped(value))
    elif isinstance(value, type):
        yield from (function.__code__ for function in functions_of(value))
        yield from (code for inner in vars(value).values() if isinstance(inner, type) for code in _codes(inner, name))


def _parts(value: object, name: str) -> Iterator[list[Any]]:
    yield from (bytecode(code) for code in _codes(value, name))
    if isinstance(value, type) and value.__module__ == name:
        plain = {key: held for key, held in vars(value).items() if type(held) in _PLAIN and not key.startswith("__")}
        yield [value.__qualname__, [base.__qualname__ for base in value.__bases__], plain]


def _constant(value: Any) -> str:
    try:
        return fingerprint(value)
    except TypeError:  # an ellipsis, a complex number
        return repr(value)
