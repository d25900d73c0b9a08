"""Hygiene for every test of this project: nothing reads or writes the home folder of whoever runs them."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator

import pytest
from hypothesis import settings

pytest_plugins = ["pytester"]

# Two busy cores make any deadline a coin toss; what a test may take is not what its properties are about.
settings.register_profile("robust", deadline=None)
settings.load_profile("robust")

_KEY = pytest.StashKey[tuple[str, pytest.MonkeyPatch]]()


def pytest_configure(config: pytest.Config) -> None:
    """Move HOME before a test module is imported: ART writes into it when it is imported.

    The workers of pytest-xdist inherit the folder, so that they share one cache.
    """
    if hasattr(config, "workerinput"):
        return
    home, patch = tempfile.mkdtemp(prefix="pytest-robust-home-"), pytest.MonkeyPatch()
    patch.setenv("HOME", home)
    patch.setenv("XDG_CACHE_HOME", os.path.join(home, ".cache"))
    patch.setenv("XDG_CONFIG_HOME", os.path.join(home, ".config"))
    config.stash[_KEY] = home, patch


def pytest_unconfigure(config: pytest.Config) -> None:
    """Put HOME back."""
    if _KEY in config.stash:
        home, patch = config.stash[_KEY]
        patch.undo()
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(autouse=True)
def environment_is_restored() -> Iterator[None]:
    """A test that leaves an environment variable behind changes the tests after it."""
    before = dict(os.environ)
    yield
    after = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
    before.pop("PYTEST_CURRENT_TEST", None)
    leaked = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    # Importing these libraries sets variables of their own, once per process.
    assert not {name for name in leaked if not name.startswith(("KMP_", "OMP_", "TORCH", "MPL"))}
