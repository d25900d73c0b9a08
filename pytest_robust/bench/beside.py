"""What a file imports from its own folder: found there first, and kept under names that belong to the file alone.

Two projects may each have a ``nets.py`` beside their ``models.py``, but Python keeps one module of each name. So
``nets``, imported by a file that was loaded as ``mine``, is the module ``mine.nets``, and bears the short name only
while the file is loaded: another file's ``nets`` is another module, and one that was edited is read again.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator, Sequence, Set
from contextlib import contextmanager
from importlib.abc import Loader
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

from pytest_robust.store.ownership import is_users

#: What pytest and Python themselves keep under one name for many files.
_ANYBODYS = {"conftest", "__main__"}


@contextmanager
def folder_first(folder: Path, owner: str, taken: Set[str]) -> Iterator[None]:
    """As when Python runs a file in `folder`: what lies there is found first, as modules ``owner.NAME``.

    A package that is found without the folder too, because it is installed, stays under its own name, and so does what
    somebody else has imported from there already.

    Args:
        folder: has Python files.
        owner: a name that no other folder's modules begin with.
        taken: top-level names under which ``sys.modules`` holds what is not meant here (`held_elsewhere`); they are
            out of it meanwhile.
    """
    others = {name: module for name, module in sys.modules.items() if name.partition(".")[0] in taken}
    for name in others:
        del sys.modules[name]
    finder = _Beside(str(folder), owner, taken)
    sys.path.insert(0, finder.folder)
    sys.meta_path.insert(0, finder)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        if finder.folder in sys.path:
            sys.path.remove(finder.folder)
        for name in finder.short:
            sys.modules.pop(name, None)
        sys.modules.update(others)


def forget(owner: str) -> None:
    """Have what lies beside a file read anew when it is next imported: it may have been edited."""
    for name in [name for name in sys.modules if name.startswith(f"{owner}.")]:
        del sys.modules[name]


def held_elsewhere(folder: Path) -> set[str]:
    """Top-level names of the user's modules in ``sys.modules`` that are others than those in `folder`."""
    tops = {name.partition(".")[0] for name in sys.modules} - _ANYBODYS
    beside = {top for top in tops if PathFinder.find_spec(top, [str(folder)]) is not None}
    taken: set[str] = set()
    for name, module in list(sys.modules.items()):
        top, file = name.partition(".")[0], held_file(module)
        if top in beside - taken and file is not None and is_users(name, file):
            own = file_beside(name, folder)
            if own is not None and not is_same(own, file):
                taken.add(top)
    return taken


def held_file(module: object) -> Path | None:
    """The file that a module in ``sys.modules`` was made of, without asking one that makes up its attributes."""
    file = getattr(module, "__dict__", {}).get("__file__")
    return Path(file) if isinstance(file, str) else None


def file_beside(name: str, folder: Path) -> Path | None:
    """The file of the module `name`, dotted or not, if it lies in `folder`; None too for a package without a file."""
    places: list[str] | None = [str(folder)]
    origin = None
    for part in name.split("."):
        found = PathFinder.find_spec(part, places) if places is not None else None
        if found is None:
            return None
        origin = found.origin
        places = [str(Path(each) / part) for each in places or []] if found.submodule_search_locations else None
    return Path(origin) if origin is not None else None


def is_same(one: Path, other: Path) -> bool:
    """Whether two paths lead to one file."""
    return one.resolve() == other.resolve()


class _Beside:
    """Finds modules in a folder, for a file's own name."""

    def __init__(self, folder: str, owner: str, taken: Set[str]) -> None:
        self.folder, self.owner, self.taken = folder, owner, taken
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
        if found is None or (found.origin is not None and not is_users(name, Path(found.origin))):
            return None
        # What has the name of another folder's module cannot stay under it, installed or not.
        packaged = not parent and found.submodule_search_locations is not None and name not in self.taken
        if packaged and (found.origin is None or self._is_installed(name, found.origin)):
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
        places = None if found.submodule_search_locations is None else list(found.submodule_search_locations)
        if found.origin is None:  # a package without an __init__.py
            spec = ModuleSpec(name, None, is_package=True)
            spec.submodule_search_locations = places
        else:
            made = importlib.util.spec_from_file_location(name, found.origin, submodule_search_locations=places)
            assert made is not None
            spec = made
        self.spec = spec

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
            assert self.spec.loader is not None  # a package without a file has got one when its module was made
            self.spec.loader.exec_module(module)
        except BaseException:
            sys.modules.pop(self.name, None)
            raise
