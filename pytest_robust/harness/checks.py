"""Options against the world, before collection: names that exist, a device that is there, folders that take files."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_robust.errors import RobustError, UnknownNameError
from pytest_robust.harness.folders import check_writable
from pytest_robust.harness.options import Options
from pytest_robust.harness.session import RobustSession


def check_options(session: RobustSession) -> None:
    """Raise pytest.UsageError for the first option that this machine or the registries cannot satisfy."""
    options = session.options
    try:
        _check_names(session)
        # Asking for the CPU, or for whatever there is, is always possible, so torch can stay out.
        if options.device not in ("auto", "cpu"):
            from pytest_robust.bench.settings import resolve_device

            resolve_device(options.device)
    except RobustError as error:
        raise pytest.UsageError(str(error)) from None
    _check_family_file(options)
    _check_data_root(options)
    _check_folder(options.cache, "--robust-cache", "the cache folder")
    _check_folder(options.report, "--robust-report", "the report folder")
    _check_baselines(session)


#: pytest has read the conftest.py files above the arguments by now, and no others.
ADVICE = "name that folder on the command line, or register in the one beside the configuration"


def _check_names(session: RobustSession) -> None:
    options = session.options
    if not options.given & {"dataset", "defense", "attack", "family"}:
        return
    registries = session.registries
    registries.datasets.check(options.dataset)
    if options.family is not None and ":" not in options.family:
        registries.families.check(options.family)
    try:
        for name in options.defense:
            registries.defenses.check(name)
        for name in options.attack:
            registries.attacks.check(name)
    except UnknownNameError as error:
        raise UnknownNameError(f"{error} A conftest.py in a folder below registers too late: {ADVICE}.") from None


def _check_family_file(options: Options) -> None:
    file = (options.family or "").rpartition(":")[0]
    if file.endswith(".py") and not Path(file).is_file():
        raise pytest.UsageError(f"the file {file} of the family does not exist: name another with --robust-family.")


def _check_data_root(options: Options) -> None:
    root = options.data_root
    if root is None or root.is_dir():
        return
    if root.exists():
        raise pytest.UsageError(f"the data root {root} is not a folder: name the folder that holds the data sets.")
    if not options.download:
        raise pytest.UsageError(f"the data root {root} does not exist: create it, or let --download fill it.")


def _check_baselines(session: RobustSession) -> None:
    options = session.options
    try:
        _ = session.baseline  # read now: a run that cannot be compared is not worth its hours
    except RobustError as error:
        raise pytest.UsageError(str(error)) from None
    if options.save_baseline is not None and options.save_baseline.is_dir():
        raise pytest.UsageError(f"the baseline {options.save_baseline} is a folder: name a file.")
    _check_folder(options.save_baseline and options.save_baseline.parent, "--robust-save-baseline", "the folder")


def _check_folder(folder: Path | None, option: str, noun: str) -> None:
    if folder is None:
        return
    try:
        check_writable(folder)
    except OSError as error:
        raise pytest.UsageError(f"{noun} {folder} cannot be written ({error}): name another with {option}.") from None
