"""A sealed file: safetensors with a digest over the whole of it, written so that it is there entirely or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import time
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

_DIGEST_FIELD = b'"sha256":"'
_DIGEST_LENGTH = 64
_STALE_SECONDS = 3600.0


class DamagedFileError(Exception):
    """A file that is not what was once sealed; the text says how."""


def write_sealed(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    """Write `tensors` (any dtype, shape and device) and `about` (JSON) to `path`, atomically and durably.

    Raises:
        OSError: the file cannot be written; whatever was at `path` is still there.
        TypeError: `about` is not JSON.
    """
    # Copied because safetensors takes neither strided tensors nor two that share memory.
    dense = {k: t.detach().cpu().clone(memory_format=torch.contiguous_format) for k, t in tensors.items()}
    blob = memoryview(
        safetensors.torch.save(dense, metadata={"sha256": "0" * _DIGEST_LENGTH, "about": json.dumps(dict(about))})
    )
    at = _digest_position(blob)
    _write_atomically(path, (blob[:at], _digest(blob, at), blob[at + _DIGEST_LENGTH :]))


def read_sealed(file: BinaryIO) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors (on the CPU, contiguous) and the JSON that were sealed in `file`.

    Raises:
        DamagedFileError: it was cut off, changed, or never sealed.
    """
    blob = file.read()
    view = memoryview(blob)
    try:
        at = _digest_position(view)
        if _digest(view, at) != bytes(view[at : at + _DIGEST_LENGTH]):
            raise ValueError("its content does not match its digest")
        about = json.loads(json.loads(_header(view))["__metadata__"]["about"])
        return safetensors.torch.load(blob), about
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise DamagedFileError(f"it is not a whole file of this cache ({error})") from error


def _header(blob: memoryview) -> bytes:
    return bytes(blob[8 : 8 + int.from_bytes(blob[:8], "little")])


def _digest_position(blob: memoryview) -> int:
    """Where the digest starts. Quotes inside JSON strings are escaped, so only the field itself can match."""
    found = 8 + _header(blob).index(_DIGEST_FIELD) + len(_DIGEST_FIELD)
    if found + _DIGEST_LENGTH > len(blob):
        raise ValueError("it is cut off inside the header")
    return found


def _digest(blob: memoryview, at: int) -> bytes:
    """SHA-256, in hexadecimal, of all of `blob` but the digest's own place."""
    digest = hashlib.sha256(blob[:at])
    digest.update(blob[at + _DIGEST_LENGTH :])
    return digest.hexdigest().encode()


def _write_atomically(path: Path, parts: Iterable[memoryview | bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_stale_temporaries(path.parent)
    # Not by tempfile, whose files only their owner may read: a team can share one cache.
    temporary = path.with_name(f"{path.stem[:24]}.{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("xb") as file:
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _remove_stale_temporaries(folder: Path) -> None:
    """Remove what killed writers left. By age, because a process of another container cannot be asked if it lives."""
    oldest = time.time() - _STALE_SECONDS
    for temporary in folder.glob("*.tmp"):
        try:
            if temporary.stat().st_mtime < oldest:
                temporary.unlink()
        except OSError:  # another writer was faster, or it is not ours to remove
            continue


def _sync_folder(folder: Path) -> None:
    """Make a rename in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
