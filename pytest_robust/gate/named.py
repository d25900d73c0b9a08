"""``"module:attribute"`` strings: what they name, imported from the user's own folder, called where it is a factory."""

from __future__ import annotations

import difflib
import importlib
import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from pytest_robust.bench.beside import file_beside, held_file, is_same
from pytest_robust.errors import RobustError
from pytest_robust.gate.started_in import started_in
from pytest_robust.store.blame import told

_NAMED = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


def is_named(text: str) -> bool:
    """Whether `text` reads as ``"module:attribute"`` and not as a path."""
    return _NAMED.fullmatch(text) is not None


def made_by(text: str, what: str, root: Path, error: type[RobustError]) -> Any:
    """What ``"module:factory"`` gives: a function is called without arguments, another object is given as it is.

    Args:
        text: the module may lie in `root`, which is put on ``sys.path`` and stays there, as ``python -m`` does it. It
            is the one that `root` has, if it has one, whatever another folder's module of that name is.
        what: "model" or "data", for messages.
        root: the user's folder.
        error: the kind of error that is raised.

    Raises:
        RobustError: of kind `error`: there is no such module or attribute, or the import or the factory fails; its own
            error is the cause.
    """
    with started_in(root, text.partition(":")[0]):
        factory = _attribute(text, what, root, error)
        return (
            factory if not callable(factory) or isinstance(factory, nn.Module) else _called(text, what, factory, error)
        )


def _called(text: str, what: str, factory: Callable[[], Any], error: type[RobustError]) -> Any:
    try:
        inspect.signature(factory).bind()
    except TypeError as wrong:
        raise error(
            f"the {what} factory {text!r} cannot be called without arguments ({wrong}): give them defaults."
        ) from wrong
    except ValueError:  # a built-in does not tell its arguments
        pass
    try:
        return factory()
    except RobustError:
        raise
    except Exception as failure:
        raise error(f"the {what} factory {text!r} raised {told(failure)}: mend the factory.") from failure


def _attribute(text: str, what: str, root: Path, error: type[RobustError]) -> Any:
    name, _, path = text.partition(":")
    if name.endswith(".py"):
        raise error(f"the {what} {text!r} names a file, but a module is expected: write '{name[:-3]}:{path}'.")
    try:
        found: Any = importlib.import_module(name)
    except RobustError:
        raise
    except ModuleNotFoundError as missing:
        if missing.name is not None and (name == missing.name or name.startswith(f"{missing.name}.")):
            raise error(
                f"the {what} {text!r}: there is no module {missing.name!r} in {root} nor on Python's path; write "
                "'module:factory' as seen from there."
            ) from missing
        raise error(f"the {what} {text!r}: importing {name!r} raised {told(missing)}.") from missing
    except Exception as failure:
        raise error(f"the {what} {text!r}: importing {name!r} raised {told(failure)}.") from failure
    own, held = file_beside(name, root), held_file(found)
    if own is not None and held is not None and not is_same(own, held):
        raise error(
            f"the {what} {text!r}: Python has {held} for {name!r} and cannot take {own} as well: give that file "
            "another name."
        )
    for part in path.split("."):
        if not hasattr(found, part):
            near = difflib.get_close_matches(part, dir(found), n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else "name a function without arguments that gives it."
            raise error(f"the {what} {text!r}: {name!r} has no {part!r}; {hint}")
        found = getattr(found, part)
    return found
