"""The ArtifactStore: a content-addressed cache of trained weights and adversarial sets.

One file per artifact, ``<root>/<kind>/<key[:2]>/<key>.safetensors``, beside it the lock of whoever builds it. What
cannot be read is moved to ``<root>/damaged/`` and built again; nothing is ever deleted.
"""

from __future__ import annotations

import json
import logging
import os
import re
import tempfile
import uuid
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from torch import Tensor

from pytest_robust.errors import CacheError
from pytest_robust.store.location import default_root as default_root
from pytest_robust.store.sealed import DamagedFileError, read_sealed, write_sealed

SCHEMA = 1

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{1,127}")
_log = logging.getLogger(__name__)


class DamagedArtifactWarning(UserWarning):
    """A cached file could not be trusted; it was set aside and will be built again."""


@dataclass(frozen=True, eq=False)
class Artifact:
    """What the store keeps under one key.

    Args:
        tensors: by name; any dtype and shape. They come back on the CPU and contiguous.
        metadata: JSON about them. It comes back as JSON gives it: tuples as lists, keys as strings.
    """

    tensors: dict[str, Tensor]
    metadata: dict[str, Any] = field(default_factory=dict)


class ArtifactStore:
    """A folder of artifacts by kind ("model", "adversarial") and key (a fingerprint of what determines them).

    Threads, processes and machines that share the folder may use it at the same time. The folder stays untouched
    until something is written.

    Args:
        root: the folder; it need not exist. ``~`` is the user's home.

    Raises:
        CacheError: ``~`` is nobody's home.
    """

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)
        try:
            self.root = self.root.expanduser()
        except RuntimeError as error:
            raise self._unusable(error) from error

    def get_or_build(self, kind: str, key: str, build: Callable[[], Artifact]) -> tuple[Artifact, bool]:
        """The artifact under `key`, built and kept now if nobody did before; True if it was built by this call.

        Two processes that need the same artifact build it once: the second waits for the first and reads its work.
        A first and a later run get the same: CPU tensors and JSON metadata.

        Raises:
            CacheError: the folder cannot be used.
        """
        found = self.read(kind, key)
        if found is not None:
            return found, False
        with self._building(kind, key):
            found = self.read(kind, key)  # whoever held the lock before may have built it
            if found is not None:
                return found, False
            built = build()
            self.write(kind, key, built)
            return _as_read(built), True

    def holds(self, kind: str, key: str) -> bool:
        """Whether there is a file for `key`; it is not looked into."""
        return self._path(kind, key).is_file()

    def read(self, kind: str, key: str) -> Artifact | None:
        """The artifact under `key`; None if there is none. Takes no lock, so it never waits.

        Warns:
            DamagedArtifactWarning: the file was cut off, changed or is another one's; it is in ``damaged/`` now.

        Raises:
            CacheError: the folder cannot be read, or a damaged file cannot be moved.
        """
        path = self._path(kind, key)
        try:
            with path.open("rb") as file:
                seen = os.fstat(file.fileno())
                try:
                    return _checked(*read_sealed(file), kind=kind, key=key)
                except DamagedFileError as error:
                    self._set_aside(path, seen, str(error), kind)
        except (FileNotFoundError, NotADirectoryError):
            pass
        except OSError as error:
            raise self._unusable(error) from error
        return None

    def write(self, kind: str, key: str, artifact: Artifact) -> None:
        """Keep `artifact` under `key`. A reader sees the old file or the new one, never half of one.

        Raises:
            CacheError: the folder cannot be written.
        """
        about = {"schema": SCHEMA, "kind": kind, "key": key, "metadata": artifact.metadata}
        try:
            write_sealed(self._path(kind, key), artifact.tensors, about)
        except OSError as error:
            raise self._unusable(error) from error

    def checkpoint(self, kind: str, key: str) -> Path:
        """Where a long build may keep its progress. The builder writes it, and removes it once the artifact is kept."""
        return self._path(kind, key).with_suffix(".checkpoint")

    def check_writable(self) -> None:
        """Raise CacheError unless artifacts can be written; leaves nothing behind, not even the folder."""
        try:
            folder = _nearest_existing(self.root.absolute())
            longest = os.pathconf(folder, "PC_NAME_MAX")
            if any(len(os.fsencode(part)) > longest for part in self.root.parts):
                raise OSError("a part of its name is too long")
            with suppress(FileNotFoundError):
                os.lstat(self.checkpoint("k" * 16, "0" * 64))  # a path that is too long as a whole
            with tempfile.TemporaryFile(dir=folder) as probe:
                probe.write(b"probe")
                probe.flush()
        except (OSError, ValueError) as error:
            raise self._unusable(error) from error

    def _path(self, kind: str, key: str) -> Path:
        for part in (kind, key):
            if not _NAME.fullmatch(part) or part == "damaged":
                raise ValueError(f"{part!r} cannot name an artifact: use letters, digits, '_' and '-'")
        return self.root / kind / key[:2] / f"{key}.safetensors"

    @contextmanager
    def _building(self, kind: str, key: str) -> Iterator[None]:
        """Hold the lock of `key`. The kernel frees it when its holder dies, whatever killed it."""
        path = self._path(kind, key).with_suffix(".lock")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(path)
            try:
                lock.acquire(blocking=False)
            except Timeout:
                _log.info("another process builds %s %s: waiting for it", kind, key[:12])
                lock.acquire()
        except OSError as error:
            raise self._unusable(error) from error
        try:
            yield
        finally:
            lock.release()

    def _set_aside(self, path: Path, seen: os.stat_result, reason: str, kind: str) -> None:
        """Move the damaged file that was `seen` at `path` away, unless somebody has already put another one there."""
        target = self.root / "damaged" / f"{kind}-{path.stem}-{uuid.uuid4().hex[:12]}{path.suffix}"
        with suppress(FileNotFoundError):
            if not os.path.samestat(os.stat(path), seen):
                return
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(path, target)
            warnings.warn(
                f"the cached {kind} {path} is damaged: {reason}; it was moved to {target} and will be built again.",
                DamagedArtifactWarning,
                stacklevel=4,
            )

    def _unusable(self, error: Exception) -> CacheError:
        reason = getattr(error, "strerror", None) or str(error)
        return CacheError(
            f"the cache folder {self.root} cannot be used: {reason[:1].lower()}{reason[1:]}; choose another one "
            "with --robust-cache, or free this one."
        )


def _nearest_existing(path: Path) -> Path:
    """The absolute `path` or its nearest ancestor that exists, which must be a folder."""
    existing = next(folder for folder in (path, *path.parents) if os.path.lexists(folder))
    if not existing.is_dir():
        raise NotADirectoryError(f"{existing} is not a folder")
    return existing


def _checked(tensors: dict[str, Tensor], about: dict[str, Any], *, kind: str, key: str) -> Artifact:
    for name, value in (("schema", SCHEMA), ("kind", kind), ("key", key)):
        if about.get(name) != value:
            raise DamagedFileError(f"its {name} is {about.get(name)!r}, not {value!r}")
    return Artifact(tensors, about["metadata"])


def _as_read(artifact: Artifact) -> Artifact:
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in artifact.tensors.items()}
    return Artifact(tensors, json.loads(json.dumps(artifact.metadata)))
