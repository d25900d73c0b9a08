"""Whose a module is: the user's own, or Python's, this package's, or an installed package's; imports nothing heavy."""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path

PACKAGE = "pytest_robust"
_INSTALLED = tuple({Path(path).resolve() for name, path in sysconfig.get_paths().items() if name.endswith("lib")})
_PACKAGES = {"site-packages", "dist-packages"}


def is_users(name: str, path: Path) -> bool:
    """Whether a module is the user's own: neither Python's, nor this package, nor installed."""
    if name.partition(".")[0] in {PACKAGE, *sys.stdlib_module_names}:
        return False
    path = path.resolve()
    # By name as well, because an environment can stand on the packages of another one.
    return not (_PACKAGES & set(path.parts) or any(path.is_relative_to(folder) for folder in _INSTALLED))
