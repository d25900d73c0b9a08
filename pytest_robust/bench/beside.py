"""What a file imports from its own folder: found there first, and kept under names that belong to the file alone.

Two projects may each have a ``nets.py`` beside their ``models.py``, but Python keeps one module of each name. So
``nets``, imported by a file that was loaded as ``mine``, is the module ``mine.nets``, and bears the short name only
while the file is loaded: another file's ``nets`` is another module, and one that was edited is read again.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import Loader
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

from pytest_robust.store.ownership import is_users


@contextmanager
def folder_first(path: Path, owner: str) -> Iterator[None]:
    """As when Python runs `path`: what lies beside it is found first, as modules ``owner.NAME``.

    A package that is found without the folder too, because it is installed, stays under its own name, and so does what
    somebody else has imported from there already.

    Args:
        path: a Python file.
        owner: the name that the file's own module has.
    """
    folder = str(path.parent)
    others = _of_other_folders(path)
    for name in others:
        del sys.modules[name]
    for name in [name for name in sys.modules if name.startswith(f"{owner}.")]:
        del sys.modules[name]  # of an earlier load: the file beside it may have been edited
    finder = _Beside(folder, owner)
    sys.path.insert(0, folder)
    sys.meta_path.insert(0, finder)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        if folder in sys.path:
            sys.path.remove(folder)
        for name in finder.short:
            sys.modules.pop(name, None)
        sys.modules.update(others)


def _of_other_folders(path: Path) -> dict[str, ModuleType]:
    """Modules of the user's own that lie elsewhere and have the name of a file beside `path`, and what is in them."""
    beside = {each.stem for each in path.parent.glob("*.py")} | {
        each.parent.name for each in path.parent.glob("*/__init__.py")
    }
    taken = {name for name in (beside - {path.stem}) & set(sys.modules) if _lies_elsewhere(name, path.parent)}
    return {name: module for name, module in sys.modules.items() if name.partition(".")[0] in taken}


def _lies_elsewhere(name: str, folder: Path) -> bool:
    file = getattr(sys.modules[name], "__file__", None)
    return file is not None and is_users(name, Path(file)) and not Path(file).is_relative_to(folder)


class _Beside:
    """Finds modules in a folder, for a file's own name."""

    def __init__(self, folder: str, owner: str) -> None:
        self.folder, self.owner = folder, owner
        #: Names that modules of the owner have been imported by.
        self.short: set[str] = set()

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Of a module that lies in the folder; None leaves it to Python's own finders."""
        parent = name.rpartition(".")[0]
        if parent and parent not in self.short:
            return None
        found = PathFinder.find_spec(name, path if parent else [self.folder])
        if found is None or found.origin is None or not is_users(name, Path(found.origin)):
            return None
        if not parent and found.submodule_search_locations and self._is_installed(name, found.origin):
            return None
        self.short.add(name)
        return ModuleSpec(name, _Renamed(f"{self.owner}.{name}", found), origin=found.origin)

    def _is_installed(self, name: str, origin: str) -> bool:
        """Whether the others find it too when the folder is not on the import path."""
        sys.path.remove(self.folder)  # once: if somebody else has put it there as well, it counts
        try:
            specs = (finder.find_spec(name, None) for finder in sys.meta_path if finder is not self)
            return any(spec is not None and spec.origin == origin for spec in specs)
        finally:
            sys.path.insert(0, self.folder)


class _Renamed(Loader):
    """Loads what `found` found as the module `name`."""

    def __init__(self, name: str, found: ModuleSpec) -> None:
        self.name = name
        self.known = sys.modules.get(name)  # a package may import it both ways, relatively and not
        places = found.submodule_search_locations
        spec = importlib.util.spec_from_file_location(
            name, found.origin, submodule_search_locations=None if places is None else list(places)
        )
        assert spec is not None
        assert spec.loader is not None
        self.spec, self.loader = spec, spec.loader

    def create_module(self, _spec: ModuleSpec) -> ModuleType:
        """A module that has its long name before Python can give it the short one."""
        return importlib.util.module_from_spec(self.spec) if self.known is None else self.known

    def exec_module(self, module: ModuleType) -> None:
        """Run it, once."""
        module.__spec__ = self.spec  # Python has put that of the short name there
        if self.known is not None:
            return
        sys.modules[self.name] = module
        try:
            self.loader.exec_module(module)
        except BaseException:
            sys.modules.pop(self.name, None)
            raise
