"""The user's own line: that which led to an error of somebody else's code, and that which a warning is about."""

from __future__ import annotations

import os
import re
import sys
import textwrap
import traceback
import warnings
from pathlib import Path
from types import FrameType

from pytest_robust.store.ownership import PACKAGE, is_users

#: Characters of another library's message (ours): torch's can hold a traceback of its own.
LONGEST = 240
#: What torch says of a tensor that a layer was not made for; it has no type of its own for it.
_SHAPES = re.compile(r"\b(shapes?|sizes?|size\(s\)|dimensions?|channels?|pixels?|resolution|\d-?D)\b", re.IGNORECASE)


def told(error: BaseException) -> str:
    """The error's type, what it says on one line, and its place: ``KeyError: 'layer' (my_model.py:12)``.

    The place is the last line of the user's own files: libraries raise deep inside themselves. Where none of them is on
    the way, as with a file that cannot be decoded, no place is given.
    """
    said = textwrap.shorten(str(error), LONGEST, placeholder=" …").rstrip(".")
    place = users_place(error)
    return f"{type(error).__name__}{said and f': {said}'}{place and f' ({place})'}"


def users_place(error: BaseException) -> str:
    """``FILE:LINE``, of the last frame in the user's own code; "" if there is none."""
    frames = [
        (Path(frame.f_code.co_filename), line)
        for frame, line in traceback.walk_tb(error.__traceback__)
        if is_users(frame.f_globals.get("__name__", ""), Path(frame.f_code.co_filename))
        and Path(frame.f_code.co_filename).is_file()
    ]
    return f"{_short(frames[-1][0])}:{frames[-1][1]}" if frames else ""


def warn_user(warning: Warning) -> None:
    """Warn of what the user's innermost line does, however deep in this package that is noticed.

    Where no code of the user's is running, the line outside this package stands for it.
    """
    level, outside = 1, 0
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        level += 1
        name = str(frame.f_globals.get("__name__", ""))
        if is_users(name, Path(frame.f_code.co_filename)):
            break
        if not outside and name.partition(".")[0] != PACKAGE:
            outside = level
        frame = frame.f_back
    else:
        level = outside or 1
    warnings.warn(warning, stacklevel=level)


def is_about_shapes(error: BaseException) -> bool:
    """Whether the error may come from images of another size than the code was made for."""
    return isinstance(error, (RuntimeError, ValueError, IndexError, AssertionError)) and bool(
        _SHAPES.search(str(error))
    )


def _short(path: Path) -> str:
    """As seen from the current folder, where it lies in it."""
    here = Path.cwd()
    return os.path.relpath(path, here) if path.is_absolute() and path.is_relative_to(here) else str(path)
