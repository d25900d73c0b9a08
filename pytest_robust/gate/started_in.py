"""Imports as if Python had been started in a folder, whatever other folders have been imported from before.

Two folders may each have a ``release.py`` beside their ``robust.toml``, or a ``nets.py`` beside that, but Python keeps
one module of each name. Where a name is taken, the folder's own file is imported under a name that belongs to the
folder alone (`pytest_robust.bench.beside`); elsewhere modules have the names that the user gave them.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType

from pytest_robust.bench.beside import file_beside, folder_first, held_elsewhere, held_file, is_same

#: Folders that stay on ``sys.path`` because of what was imported from them here.
_put: set[str] = set()
#: The folders whose modules have had to go by other names, and what these begin with.
_owners: dict[Path, str] = {}


@contextmanager
def started_in(root: Path, name: str) -> Iterator[None]:
    """While `name` is imported and used: `root` is first on ``sys.path``, and stays there, as ``python -m`` does it.

    Args:
        root: the user's folder.
        name: of the module that is wanted, dotted or not.
    """
    folder, stood = str(root), str(root) in sys.path
    others = [each for each in sys.path if each in _put and each != folder]
    for each in others:
        sys.path.remove(each)
    sys.path.insert(0, folder)
    if not stood:
        _put.add(folder)
    try:
        taken = held_elsewhere(root)
        top = name.partition(".")[0]
        if _is_anothers(top, root, others):
            taken.add(top)
        with folder_first(root, _owner(root), taken) if taken else nullcontext():
            yield
    finally:
        if stood and folder in sys.path:
            sys.path.remove(folder)  # the one in front; the other stands where it stood
        at = sys.path.index(folder) + 1 if folder in sys.path else 0
        sys.path[at:at] = others


def _is_anothers(top: str, root: Path, others: list[str]) -> bool:
    """Whether the module `top` that Python holds is not the one that it would find from `root`."""
    held, own = held_file(sys.modules.get(top)), file_beside(top, root)
    if held is None or top in sys.stdlib_module_names:  # these cannot go by another name
        return False
    if own is not None:
        return not is_same(own, held)
    lent = (file_beside(top, Path(each)) for each in others)
    return any(file is not None and is_same(file, held) for file in lent) and PathFinder.find_spec(top) is None


def _owner(root: Path) -> str:
    """The same for a folder in every process, as long as no two are called alike: it is in fingerprints."""
    if root not in _owners:
        owner = f"pytest_robust_gate_{re.sub(r'[^0-9A-Za-z_]', '_', root.name)}"
        while owner in _owners.values():
            owner += "_"
        _owners[root] = owner
    # `pickle` imports what a name begins with.
    sys.modules.setdefault(_owners[root], ModuleType(_owners[root]))
    return _owners[root]
