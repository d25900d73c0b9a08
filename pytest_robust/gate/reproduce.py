"""The line that repeats an evaluation, for whoever reads a failed build."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pytest_robust.attacks.attack import HOUSEKEEPING, Attack

#: What the line stands on.
IMPORTS = "from pytest_robust import Bench, Robust, Settings"
#: Parameters that are measured in units of pixels, which people write in grey levels.
IN_PIXELS = frozenset({"eps", "eps_step"})


def reproducing(
    model: object, data: object, root: Path, attack: Attack | None, settings: dict[str, Any], extra: dict[str, Any]
) -> str:
    """Python that evaluates `model` on `data` again, to be pasted into an interpreter or a notebook.

    What the user gave as an object is called ``model`` and ``data`` there.

    Args:
        model, data: as the user gave them.
        root: folder from which names of these are found.
        attack: configured, or None.
        settings: of the bench, those that change figures.
        extra: further arguments of ``evaluate``, those that are not their defaults.
    """
    arguments = [_named(model, "model"), _named(data, "data")]
    if attack is not None:
        arguments.append(f"attack={attack.name!r}")
        arguments += [f"{name}={_parameter(attack, name)}" for name in attack.params if name not in HOUSEKEEPING]
        if attack.target is not None:
            arguments.append(f"target={attack.target!r}")
    arguments += [f"{name}={_plain(value)!r}" for name, value in extra.items()]
    bench = ", ".join(f"{name}={value!r}" for name, value in settings.items())
    named = isinstance(model, (str, Path)) or isinstance(data, (str, Path))
    folder = f", root={_seen_from_here(root)!r}" if named and root != Path.cwd() else ""
    return f"{IMPORTS}; Robust(Bench(Settings({bench})){folder}).evaluate({', '.join(arguments)})"


def _named(given: object, name: str) -> str:
    return repr(str(given)) if isinstance(given, (str, Path)) else name


def _seen_from_here(folder: Path) -> str:
    here = Path.cwd()
    return str(folder.relative_to(here) if folder.is_relative_to(here) else folder)


def _parameter(attack: Attack, name: str) -> str:
    """As people write it: a norm by its name, a budget in grey levels where it is one exactly and that is shorter."""
    value = attack.params[name]
    if name == "norm" and attack.norm is not None:
        return repr(attack.norm)
    plain = repr(_plain(value))
    if name in IN_PIXELS and isinstance(value, float) and 0 < value < 1 and round(value * 255) / 255 == value:
        return min(plain, f"{round(value * 255)}/255", key=len)
    return plain


def _plain(value: Any) -> Any:
    """Numbers and lists of them for tensors and arrays, which do not read as they are written."""
    return value.tolist() if hasattr(value, "tolist") else value
