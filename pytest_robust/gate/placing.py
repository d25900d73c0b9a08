"""A mistake in what a robust.toml names, with the line that names it: the model, the data, or a requirement."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pytest_robust.errors import DataError, DefenseError, GateError, ModelError, RobustError
from pytest_robust.gate.requirements import Gate

#: Whose fault an error is, by the key of ``[gate]``; any other is that of who asked for what failed.
KEYS: tuple[tuple[type[RobustError], str], ...] = ((ModelError, "model"), (DefenseError, "model"), (DataError, "data"))


@contextmanager
def placed(gate: Gate, line: int) -> Iterator[None]:
    """Begin the sentences of the errors that are raised inside with the file and the line; their kind stays.

    Args:
        gate: one that stands in no file leaves them as they are.
        line: of the table that is at work.
    """
    try:
        yield
    except GateError:
        raise  # it begins with its own line
    except RobustError as error:
        if not gate.lines:
            raise
        key = next((key for kind, key in KEYS if isinstance(error, kind)), "")
        raise type(error)(f"{gate.path}:{gate.lines.get(key, line)}: {error}") from error
