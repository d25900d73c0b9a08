"""Stable fingerprints of settings, tensors and source code: what a cache key is made of."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import inspect
import json
import sys
from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor


def fingerprint(value: Any) -> str:
    """SHA-256 of plain data: equal settings have equal fingerprints in every process and on every machine.

    `value` may nest dataclasses, mappings, sets, sequences, tensors, enums, paths, numbers, strings, bytes and None;
    anything with a ``fingerprint`` attribute counts by it. Mappings and sets count without regard to order. A tuple
    equals a list; 1, 1.0 and True are three different values.

    Raises:
        TypeError: something in `value` has no stable form.
    """
    return hashlib.sha256(_text(_plain(value)).encode()).hexdigest()


def tensors_fingerprint(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, dtypes, shapes and bytes of `tensors`, in the order of their names."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        # Viewed as bytes because NumPy has no bfloat16.
        digest.update(tensor.flatten().view(torch.uint8).numpy().data if tensor.numel() else b"")
    return digest.hexdigest()


def source_fingerprint(obj: Any) -> str:
    """SHA-256 of the source file that defines `obj`: an edited file never meets a result of its old version.

    A ``functools.partial`` counts by its function, without its arguments. Objects without readable source (a REPL, a
    C extension) count by their qualified name.
    """
    while isinstance(obj, functools.partial):
        obj = obj.func
    module = obj if isinstance(obj, ModuleType) else sys.modules.get(getattr(obj, "__module__", ""))
    try:
        path = inspect.getsourcefile(module) if module is not None else None
    except TypeError:  # built-in modules have no file
        path = None
    if path is None or not Path(path).is_file():
        return fingerprint(f"{getattr(obj, '__module__', '')}.{getattr(obj, '__qualname__', repr(type(obj)))}")
    return file_fingerprint(path)


def file_fingerprint(path: Path | str) -> str:
    """SHA-256 of a file; read once for as long as it is not touched."""
    found = Path(path).stat()
    # A date can be set back (copying does it); that of the last change to the file's entry cannot, where there is one.
    return _file_fingerprint(str(path), (found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino))


@functools.lru_cache(maxsize=100_000)
def _file_fingerprint(path: str, _state: tuple[int, ...]) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def _text(plain: Any) -> str:
    return json.dumps(plain, sort_keys=True, separators=(",", ":"))


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return {"float": value.hex()}  # exact, and finite or not
    if isinstance(value, Enum):
        return {"enum": f"{type(value).__name__}.{value.name}"}
    if isinstance(value, bytes):
        return {"bytes": value.hex()}
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, (Tensor, np.ndarray)):
        return {"tensor": tensors_fingerprint({"": torch.as_tensor(value)})}
    if isinstance(value, Path):
        return {"path": value.as_posix()}
    known = getattr(value, "fingerprint", None)
    if isinstance(known, str):
        return {"fingerprint": known}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {"type": type(value).__qualname__, "fields": fields}
    if isinstance(value, Mapping):
        return {"map": sorted(([_plain(k), _plain(v)] for k, v in value.items()), key=_text)}
    if isinstance(value, (set, frozenset)):
        return {"set": sorted((_plain(v) for v in value), key=_text)}
    if isinstance(value, Sequence):
        return [_plain(v) for v in value]
    raise TypeError(f"{type(value).__name__} has no stable fingerprint: {value!r}")
