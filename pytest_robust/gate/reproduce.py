"""The line that repeats an evaluation, for whoever reads a failed build."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pytest_robust.attacks.attack import HOUSEKEEPING, Attack


def reproducing(
    model: object, data: object, attack: Attack | None, settings: dict[str, Any], extra: dict[str, Any]
) -> str:
    """Python that evaluates `model` on `data` again; what the user gave as an object is called ``model`` and ``data``.

    Args:
        model, data: as the user gave them.
        attack: configured, or None.
        settings: of the bench, those that change figures.
        extra: further arguments of ``evaluate``, those that are not their defaults.
    """
    arguments = [_named(model, "model"), _named(data, "data")]
    if attack is not None:
        arguments.append(f"attack={attack.name!r}")
        arguments += [f"{name}={_value(value)}" for name, value in attack.params.items() if name not in HOUSEKEEPING]
        if attack.target is not None:
            arguments.append(f"target={attack.target!r}")
    arguments += [f"{name}={_value(value)}" for name, value in extra.items()]
    bench = ", ".join(f"{name}={value!r}" for name, value in settings.items())
    return f"Robust(Bench(Settings({bench}))).evaluate({', '.join(arguments)})"


def _named(given: object, name: str) -> str:
    return repr(str(given)) if isinstance(given, (str, Path)) else name


def _value(value: Any) -> str:
    """A budget in grey levels as people write it, where it is one exactly."""
    if isinstance(value, float) and 0 < value < 1 and round(value * 255) / 255 == value:
        return f"{round(value * 255)}/255"
    return repr(value)
