"""What the values in a robust.toml must be: each function gives the value, or a ValueError that says what is wrong."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Collection
from typing import Any

_FRACTION = re.compile(r"\s*(\d+(?:\.\d+)?)\s*/\s*(\d+(?:\.\d+)?)\s*")
#: Spellings of norms: ours, ART's and torch's.
_NORMS = {"linf": "linf", "inf": "linf", "l2": "l2", "2": "l2", "l1": "l1", "1": "l1", "l0": "l0", "0": "l0"}


def text(value: Any) -> str:
    """A string that is not empty."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError("it must be a string that is not empty")
    return value


def flag(value: Any) -> bool:
    """A truth value."""
    if not isinstance(value, bool):
        raise ValueError("it must be true or false")
    return value


def count(value: Any) -> int:
    """A whole number, 1 or more."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError("it must be a whole number, 1 or more")
    return value


def share(value: Any) -> float:
    """A number in [0, 1]."""
    found = _number(value)
    if not 0 <= found <= 1:
        hint = f": write {found / 100:g} for {found:g} %" if 1 < found <= 100 else ""
        raise ValueError(f"it must be a share in [0, 1]{hint}")
    return found


#: What every share satisfies: a placeholder that is left in a gate would be green for ever.
ALWAYS = {"at_least": 0.0, "at_most": 1.0, "max_drop_from_baseline": 1.0}


def demanded(comparison: str, value: Any) -> float:
    """A share in [0, 1] that a metric can miss when it is compared with it by `comparison`."""
    found = share(value)
    if found == ALWAYS[comparison]:
        raise ValueError("every figure meets it, so that nothing is demanded")
    return found


def open_share(value: Any) -> float:
    """A number in (0, 1)."""
    found = _number(value)
    if not 0 < found < 1:
        hint = f": write {found / 100:g} for {found:g} %" if 1 < found < 100 else ""
        raise ValueError(f"it must be between 0 and 1, like 0.95{hint}")
    return found


def budget(value: Any) -> tuple[str, float]:
    """A positive number, or a fraction as a string; as it was written, and what it comes to."""
    if isinstance(value, str):
        found = _FRACTION.fullmatch(value)
        if not found or float(found[2]) == 0:
            raise ValueError('it must be a number or a fraction like "8/255"')
        number, written = float(found[1]) / float(found[2]), "".join(value.split())
    else:
        number = _number(value)
        written = f"{number:g}"
    if not 0 < number < math.inf:
        raise ValueError("a budget is positive and finite")
    return written, number


def norm(value: Any) -> str:
    """A norm by its name: linf, l2, l1 or l0; ART's names mean the same."""
    name = "inf" if value == math.inf else str(value).lower().removeprefix("l_").removesuffix(".0")
    if isinstance(value, bool) or name not in _NORMS:
        raise ValueError('it must be "linf", "l2", "l1" or "l0"')
    return _NORMS[name]


def channels(value: Any) -> float | tuple[float, ...]:
    """A number, or one for each channel."""
    if isinstance(value, list) and value:
        return tuple(_number(each) for each in value)
    return _number(value)


def positive_channels(value: Any) -> float | tuple[float, ...]:
    """A positive number, or one for each channel."""
    found = channels(value)
    if min(found if isinstance(found, tuple) else (found,)) <= 0:
        raise ValueError("a standard deviation is above 0")
    return found


def one_of(names: Collection[str]) -> Callable[[Any], str]:
    """One of `names`; the error says the nearest."""

    def check(value: Any) -> str:
        if isinstance(value, str) and value in names:
            return value
        near = difflib.get_close_matches(str(value), names, n=1, cutoff=0.5)
        hint = f'; did you mean "{near[0]}"?' if near else ""
        raise ValueError(f"it must be one of {', '.join(names)}{hint}".rstrip("."))

    return check


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError("it must be a number")
    return float(value)
