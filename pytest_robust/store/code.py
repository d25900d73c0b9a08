"""The fingerprint of code that is not this package's alone: what a stranger's defense decides depends on all of it.

The module that defines an object, and whatever that imports, directly or not, as far as it is the user's own: files
outside the standard library and outside the installed packages. This package counts by all its files.
"""

from __future__ import annotations

import ast
import functools
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pytest_robust.store.fingerprint import file_fingerprint, fingerprint
from pytest_robust.store.live_code import is_live, live_fingerprint, live_imports
from pytest_robust.store.ownership import PACKAGE, is_users


def code_fingerprint(obj: Any) -> str:
    """SHA-256 over the source files that what `obj` does depends on; an edit to any of them changes it.

    Imports are read from the source, those inside functions included; nothing is imported for it but the packages in
    which a module lies. What a notebook defines counts by all that it has defined so far (`live_code`).
    """
    return fingerprint([users_code_fingerprint(obj), _own()])


def users_code_fingerprint(obj: Any) -> str:
    """As `code_fingerprint`, but of this package only the file that defines `obj`, if it does.

    Of an installed package likewise: what else is in it counts by its version.
    """
    while isinstance(obj, functools.partial):
        obj = obj.func
    return module_fingerprint(getattr(obj, "__module__", None) or type(obj).__module__)


def module_fingerprint(start: str) -> str:
    """As `users_code_fingerprint`, of a module by name; it need not have been imported."""
    pending, seen, files, live = [start], set(), [], []
    while pending:
        name = pending.pop()
        if name in seen:
            continue
        seen.add(name)
        if is_live(name):
            live.append(live_fingerprint(name))
            pending += live_imports(name)
            continue
        path = _source(name)
        if path is None or not (name == start or is_users(name, path)):
            continue
        files.append(path)
        if is_users(name, path):
            pending += [_as_loaded(each, name) for each in _imports(path, name)]
    return fingerprint([start, sorted([*(file_fingerprint(path) for path in files), *live])])


def _as_loaded(imported: str, importer: str) -> str:
    """The name under which `importer` has what it calls `imported`.

    A file that was loaded under a name of its own has what lies beside it under that name too, though it is no package.
    """
    root = importer.partition(".")[0]
    own = f"{root}.{imported}"
    return own if own in sys.modules and not hasattr(sys.modules.get(root), "__path__") else imported


def _own() -> list[str]:
    """Of every file of this package, its defenses included."""
    package = sys.modules[PACKAGE]
    folders = [Path(folder) for folder in package.__path__]
    defenses = sys.modules.get(f"{PACKAGE}.defenses")
    folders += [Path(folder) for folder in getattr(defenses, "__path__", ())]
    return sorted({file_fingerprint(path) for folder in folders for path in folder.rglob("*.py")})


def _source(name: str) -> Path | None:
    """The source file of a module, loaded or not; None if it has none."""
    loaded = getattr(sys.modules.get(name), "__file__", None)
    if loaded is None:
        try:
            spec = importlib.util.find_spec(name)
        except (ImportError, ValueError, AttributeError):  # no such module, or its package fails to import
            return None
        loaded = spec.origin if spec is not None else None
    path = Path(loaded) if loaded is not None else None
    return path if path is not None and path.suffix == ".py" and path.is_file() else None


def _imports(path: Path, name: str) -> Iterator[str]:
    """Names of the modules that a source file may import."""
    try:
        tree = ast.parse(path.read_bytes())
    except SyntaxError:
        return
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            if base:
                yield base
                yield from (f"{base}.{alias.name}" for alias in node.names)
