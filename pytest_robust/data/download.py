"""Making a data set's files be there: found under the data root, or downloaded with torchvision when asked to.

torchvision writes under the final name while it downloads, and replaces a file whose checksum differs. Here it gets a
folder of its own, from which the finished files are moved: no half file gets a final name, no user's file is replaced.
"""

from __future__ import annotations

import http.client
import os
import socket
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from pytest_robust.data.dataset import DataSource
from pytest_robust.data.files import data_root, missing
from pytest_robust.errors import DataError

STALL_SECONDS = 60.0  # torchvision sets no timeout, so a silent server would hold a run for ever
LOCK_SECONDS = 3600.0

# torchvision raises RuntimeError for a wrong checksum; URLError and timeouts are OSErrors.
FAILURES = (OSError, RuntimeError, http.client.HTTPException, tarfile.TarError, EOFError, zlib.error, Timeout)


def ensure(
    dataset: str,
    source: DataSource,
    wanted: str,
    present: Callable[[Path], bool],
    fetch: Callable[[Path], object],
) -> Path:
    """The data root, with the files of `dataset` under it.

    Workers that run in parallel wait for one download.

    Args:
        dataset: registered name, for messages.
        source: where to look, and whether to download.
        wanted: what has to be under the root, for messages ("MNIST/raw/").
        present: whether it is under the root that it is given.
        fetch: downloads into the folder that it is given, in the layout of a data root, and checks what it got.

    Raises:
        MissingDataError: the files are not there and `source` does not ask for a download.
        DataError: the server cannot be reached, breaks off or sends something else, or the root cannot be written.
    """
    root = data_root(source)
    if present(root):
        return root
    if not source.download:
        raise missing(dataset, source, wanted)
    try:
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(root / f".{dataset}.lock", timeout=LOCK_SECONDS):
            if not present(root):
                _fetch_into(root, dataset, fetch)
    except FAILURES as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(
            f"{dataset}: the download into {root} failed, because the server cannot be reached, broke off or sent "
            f"something else ({reason}): try again, or get {wanted} elsewhere and pass --data-root DIR."
        ) from error
    return root


def _fetch_into(root: Path, dataset: str, fetch: Callable[[Path], object]) -> None:
    with tempfile.TemporaryDirectory(prefix=f".{dataset}-", dir=root) as name, _stall_timeout():
        staging = Path(name)
        fetch(staging)
        for path in sorted(path for path in staging.rglob("*") if path.is_file()):
            target = root / path.relative_to(staging)
            target.parent.mkdir(parents=True, exist_ok=True)
            if not target.exists():
                os.replace(path, target)


@contextmanager
def _stall_timeout() -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(STALL_SECONDS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
