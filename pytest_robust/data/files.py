"""Finding a data set's files: the data root, installed packages, checksums, and what to say when one is not right."""

from __future__ import annotations

import hashlib
import os
from importlib.util import find_spec
from pathlib import Path

from pytest_robust.data.dataset import DataSource
from pytest_robust.errors import DataError, MissingDataError


def default_data_root() -> Path:
    """Where data sets are looked for, and downloaded to, if the user named no ``--data-root``.

    The user's cache folder (``XDG_CACHE_HOME``, or ``~/.cache``), so that one download serves every project.
    """
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "pytest-robust" / "data"


def data_root(source: DataSource) -> Path:
    """The folder that `source` names, or the default one."""
    return Path(source.root).expanduser() if source.root is not None else default_data_root()


def missing(dataset: str, source: DataSource, wanted: str) -> MissingDataError:
    """The error for a data set whose files are not there: it names the options that would get them.

    Args:
        dataset: registered name.
        source: where was looked.
        wanted: the file or folder under the data root that would have done ("MNIST/raw/").
    """
    return MissingDataError(
        f"{dataset}: {wanted} is not, or not completely, under {data_root(source)}: pass --data-root DIR, where DIR "
        f"holds {wanted}, or --download to fetch it."
    )


def check_file(path: Path, md5: str, dataset: str) -> None:
    """Raise DataError, naming the file and both sums, unless `path` has the published MD5 sum."""
    with path.open("rb") as file:
        found = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    if found != md5:
        raise wrong_file(dataset, path, f"its MD5 sum is {found}, the published file's is {md5}")


def wrong_file(dataset: str, path: Path, what: str) -> DataError:
    """The error for a file with the wrong content; the file itself is the user's and stays as it is."""
    reason = " ".join(what.split())
    return DataError(
        f"{dataset}: {path} is not the published file ({reason}): move it away and fetch it again, "
        "for example with --download."
    )


def package_file(package: str, *parts: str) -> Path:
    """A data file that an installed package ships, found without importing the package.

    Raises:
        DataError: the package is not installed, or does not ship the file.
    """
    spec = find_spec(package)
    places = [Path(place, *parts) for place in (spec.submodule_search_locations or [])] if spec else []
    for path in places:
        if path.is_file():
            return path
    raise DataError(
        f"{'/'.join(parts)} is not among the files of the installed {package} "
        f"({'looked at ' + ', '.join(map(str, places)) if places else 'not installed'}): reinstall {package} from PyPI."
    )
