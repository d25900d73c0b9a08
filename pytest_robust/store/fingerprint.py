"""Stable fingerprints of settings, tensors and source code: what a cache key is made of."""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import json
import sys
from collections.abc import Iterable, Mapping
from enum import Enum
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor


def fingerprint(value: Any) -> str:
    """SHA-256 of plain data: equal settings have equal fingerprints in every process and on every machine.

    `value` may nest dataclasses, mappings, sequences, enums, paths, numbers, strings and None; anything with a
    ``fingerprint`` attribute counts by it. Mappings count without regard to order.

    Raises:
        TypeError: something in `value` has no stable form.
    """
    text = json.dumps(_plain(value), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def tensors_fingerprint(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, dtypes, shapes and bytes of `tensors`, in the order of their names."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        # Viewed as bytes because NumPy has no bfloat16.
        digest.update(memoryview(tensor.flatten().view(torch.uint8).numpy()) if tensor.numel() else b"")
    return digest.hexdigest()


def source_fingerprint(obj: Any) -> str:
    """SHA-256 of the source file that defines `obj`: an edited file never meets a result of its old version.

    Objects without readable source (a REPL, a C extension) count by their qualified name.
    """
    module = obj if isinstance(obj, ModuleType) else sys.modules.get(getattr(obj, "__module__", ""))
    try:
        path = inspect.getsourcefile(module) if module is not None else None
    except TypeError:  # built-in modules have no file
        path = None
    if path is None or not Path(path).is_file():
        return fingerprint(f"{getattr(obj, '__module__', '')}.{getattr(obj, '__qualname__', repr(type(obj)))}")
    return _file_fingerprint(path, Path(path).stat().st_mtime_ns)


@lru_cache(maxsize=256)
def _file_fingerprint(path: str, _mtime_ns: int) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return {"float": value.hex()}  # exact, and finite or not
    if isinstance(value, Enum):
        return {"enum": f"{type(value).__name__}.{value.name}"}
    if isinstance(value, Path):
        return {"path": value.as_posix()}
    known = getattr(value, "fingerprint", None)
    if isinstance(known, str):
        return {"fingerprint": known}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {"type": type(value).__qualname__, "fields": fields}
    if isinstance(value, Mapping):
        return {"map": sorted([str(k), _plain(v)] for k, v in value.items())}
    if isinstance(value, (set, frozenset)):
        return {"set": sorted(json.dumps(_plain(v), sort_keys=True) for v in value)}
    if isinstance(value, Iterable):
        return [_plain(v) for v in value]
    raise TypeError(f"{type(value).__name__} has no stable fingerprint: {value!r}")
