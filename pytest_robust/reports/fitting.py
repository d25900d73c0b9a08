"""A text that fits where it is posted: headlines stay, rows and folded parts are left out and counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Rows:
    """A table or a list.

    Args:
        head: lines that stay.
        rows: lines of which some may be left out, the last ones first.
        spared: positions of rows that are left out before any other.
    """

    head: tuple[str, ...]
    rows: tuple[str, ...]
    spared: frozenset[int] = frozenset()

    def within(self, room: int) -> str:
        """As many rows as `room` characters take; nothing of the head is cut."""
        kept: set[int] = set()
        for i in sorted(range(len(self.rows)), key=lambda i: (i in self.spared, i)):
            if len(self.rows[i]) + 1 > room:
                continue
            room -= len(self.rows[i]) + 1
            kept.add(i)
        lines, left = [*self.head, *(self.rows[i] for i in sorted(kept))], len(self.rows) - len(kept)
        if left:
            lines += ["", f"({left} of {len(self.rows)} rows are left out here; results.json has them.)"]
        return "\n".join(lines)


@dataclass(frozen=True)
class Folded:
    """A part that may be left out whole.

    Args:
        text: its Markdown.
    """

    text: str


#: Text stays as it is.
Part = str | Rows | Folded
MORE = "(More is in results.json.)"
#: Characters between parts, and enough of them to say what was left out of a table.
_GAP, _NOTE = 2, 80


def fitted(parts: Sequence[Part], longest: int) -> str:
    """The parts in their order, a blank line between them, in at most `longest` characters.

    Text and heads of tables stay whatever their length; rows go before folded parts, earlier parts before later ones.
    """
    fixed = [part if isinstance(part, str) else "\n".join(part.head) for part in parts if not isinstance(part, Folded)]
    tables = sum(isinstance(part, Rows) for part in parts)
    room = longest - sum(len(text) + _GAP for text in fixed) - tables * _NOTE - len(MORE)
    shown: dict[int, str] = {}
    for i, part in enumerate(parts):
        if isinstance(part, Rows):
            shown[i] = part.within(room)
            room -= len(shown[i]) - len("\n".join(part.head))
        elif isinstance(part, str):
            shown[i] = part
    for i, part in enumerate(parts):
        if isinstance(part, Folded) and len(part.text) + _GAP <= room:
            shown[i] = part.text
            room -= len(part.text) + _GAP
    whole = [shown[i] for i in sorted(shown)]
    return "\n\n".join([*whole, *([MORE] if len(shown) < len(parts) else [])])
