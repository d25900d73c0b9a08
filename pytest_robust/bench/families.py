"""From what a user names as a family to its networks: a registered name, or a function in a file or a module."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from pytest_robust.bench.beside import folder_first, forget, held_elsewhere
from pytest_robust.errors import FamilyError, RobustError
from pytest_robust.store.blame import told

if TYPE_CHECKING:
    from pytest_robust.bench.bench import Bench

#: The family that goes with a data set, for a run that names none.
DEFAULTS = {"digits": "digits", "mnist": "mnist", "fashion_mnist": "mnist", "imagenet": "imagenet-small"}


def default_family(dataset: str) -> str:
    """The registered name of the family that goes with a data set.

    Raises:
        FamilyError: none does.
    """
    if dataset not in DEFAULTS:
        raise FamilyError(
            f"no family goes with the data set {dataset!r}: name one with --family NAME or --family=FILE.py:FUNCTION."
        )
    return DEFAULTS[dataset]


def family_title(name: str) -> str:
    """A family's name for people: of a file with its folder, and not those above, which differ between machines."""
    file, colon, function = name.rpartition(":")
    return "/".join(Path(file).parts[-2:]) + colon + function if file.endswith(".py") else name


def made_by(name: str, bench: Bench) -> object:
    """What the function of a family gives, unchecked.

    The function takes nothing, or the bench. While it runs, and while its file is imported, the file's folder is first
    on the import path, as when Python runs the file.

    Raises:
        UnknownNameError: no such name is registered.
        FamilyError: there is no such file, module or function, or it raises.
        RobustError: it raises one itself: files that are missing, weights that do not fit.
    """
    file, colon, function_name = name.rpartition(":")
    if not colon:
        return _called(name, bench.registries.families.get(name), bench)
    path = Path(file).expanduser().absolute()  # the source is looked at later, wherever the program is by then
    own_name, is_file = _own_name(path), file.endswith(".py")
    if is_file:
        forget(own_name)
    with folder_first(path.parent, own_name, held_elsewhere(path.parent)) if is_file else nullcontext():
        module = _file_module(path, own_name, name) if is_file else _named_module(file, name)
        function = getattr(module, function_name, None)
        if not callable(function):
            has = [each for each, value in vars(module).items() if inspect.isfunction(value) and each[0] != "_"]
            raise FamilyError(
                f"{file} has no function {function_name!r}, as --family={name} names it; its functions: "
                f"{', '.join(sorted(has)) or 'none'}."
            )
        return _called(name, function, bench)


def _called(name: str, function: Callable[..., Any], bench: Bench) -> object:
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError as error:  # some built-in functions do not tell
        raise FamilyError(
            f"the family {name!r} names {function!r}, which is no Python function: name one of yours that takes "
            "nothing, or the bench, and gives names to networks."
        ) from error
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    wanted = [p for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    if len(wanted) > 1 or (wanted and wanted != positional[:1]):
        names = ", ".join(p.name for p in wanted)
        raise FamilyError(
            f"the function of the family {name!r} wants {names}, but it is called with nothing, or with the bench "
            "where it has one parameter: give the others defaults."
        )
    try:
        return function(bench) if wanted else function()
    except RobustError:
        raise
    except Exception as error:
        raise FamilyError(
            f"the family {name!r} cannot be loaded, and a part of it would be another family: its function raised "
            f"{told(error)}."
        ) from error


def _own_name(path: Path) -> str:
    """For the module of a file, which may be called like an installed one, or like another folder's file."""
    module_name = f"pytest_robust_family_{path.stem}"
    while getattr(sys.modules.get(module_name), "__file__", str(path)) != str(path):
        module_name += "_"
    return module_name


def _file_module(path: Path, module_name: str, name: str) -> ModuleType:
    """`path` imported anew as `module_name`."""
    if not path.is_file():
        raise FamilyError(f"the file {path} does not exist, as --family={name} names it.")
    spec = importlib.util.spec_from_file_location(module_name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Registered, because what determines a network's answers includes the source of its class, which is found so.
    sys.modules[module_name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[module_name]
        raise FamilyError(f"{path} cannot be imported, as --family={name} asks: {told(error)}.") from error
    return module


def _named_module(module: str, name: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except Exception as error:
        raise FamilyError(f"the module {module} cannot be imported, as --family={name} asks: {told(error)}.") from error
