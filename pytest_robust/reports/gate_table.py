"""Requirements of a gate with their verdicts: the table on the terminal, and their counts in a sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tabulate import tabulate

#: A judged requirement as plain data, as `gate.judging.Judged.as_dict` gives it; one that could not be measured has its
#: name, file, verdict "error" and reason alone.
Row = Mapping[str, Any]

#: Wider cells are wrapped.
_WIDTHS = {"requirement": 48, "measured": 42, "images": 12, "baseline": 50, "verdict": 22}
_ORDER = ("holds", "fails", "inconclusive", "unreliable", "information", "error")
_PLURALS = {
    "holds": "hold",
    "fails": "fail",
    "information": "saved for the first time",
    "error": "could not be measured",
}


def requirements_table(rows: Sequence[Row]) -> str:
    """A row per requirement, as plain text; without the columns that say nothing."""
    cells = [
        {
            "requirement": required(row),
            "measured": str(row.get("measured") or ""),
            "images": images(row),
            "baseline": baseline(row),
            "verdict": verdict(row),
        }
        for row in rows
    ]
    names = [name for name in _WIDTHS if any(cell[name] for cell in cells)]
    table = [[cell[name] for name in names] for cell in cells]
    widths = [_WIDTHS[name] for name in names]
    return tabulate(table, names, tablefmt="simple", maxcolwidths=widths, disable_numparse=True)


def required(row: Row) -> str:
    """The requirement, with the budget ε of its attack: also where neither the user nor the name has said it."""
    title, eps = str(row["requirement"]), (row.get("parameters") or {}).get("eps")
    return title if "eps=" in title or not isinstance(eps, (int, float)) else f"{title} (eps={eps:.3g})"


def images(row: Row) -> str:
    """How many images were looked at, of how many where that was not all: ``300 of 1000``."""
    used, everything = row.get("images_used"), row.get("images")
    if used is None:
        return ""
    return str(used) if used == everything else f"{used} of {everything}"


def baseline(row: Row) -> str:
    """Old and new figure with their difference, or why there is none; "" without a baseline."""
    change: Mapping[str, Any] | None = row.get("baseline")
    return str(change["shown"]) if change else str(row.get("not_compared") or "")


def verdict(row: Row) -> str:
    """The verdict, and what the build makes of it where that is not plain."""
    found, outcome = str(row["verdict"]), row.get("outcome")
    usual = {"holds": "pass", "fails": "fail", "error": "fail", "information": "skip"}.get(found)
    return found if outcome in (None, usual) else f"{found} ({outcome})"


def requirement_counts(rows: Sequence[Row]) -> str:
    """``5 requirements: 3 hold, 1 fails, 1 inconclusive; 300 of 1000 images attacked``."""
    verdicts = [str(row["verdict"]) for row in rows]
    counts = [(verdicts.count(name), name) for name in _ORDER]
    words = [f"{count} {_named(name, count)}" for count, name in counts if count]
    sentence = f"{len(rows)} requirement{'' if len(rows) == 1 else 's'}: {', '.join(words)}"
    spared = sum(int(row["images"]) - int(row["images_used"]) for row in rows if row.get("images_used") is not None)
    attacked = sum(int(row["images"]) for row in rows if row.get("images_used") is not None and row.get("attack"))
    return f"{sentence}; {spared} of {attacked} images did not have to be attacked" if spared else sentence


def headline(rows: Sequence[Row], diagnoses: Sequence[Mapping[str, Any]] = ()) -> str:
    """``3 of 4 requirements met, 1 inconclusive; [diagnose] failed``; "met" is only what holds; "" where all is silent.

    Args:
        rows: the requirements, skipped ones and those that may pass without holding included.
        diagnoses: the checks on the evaluation, with the outcome of their test.
    """
    unsound = diagnose_counts(diagnoses)
    return "; ".join(part for part in (_met(rows) if rows else "", unsound) if part)


def diagnose_counts(diagnoses: Sequence[Mapping[str, Any]]) -> str:
    """``[diagnose] failed``, or that it was skipped or could not be run; "" where all passed."""
    found = [
        "could not be run" if row.get("error") else {"fail": "failed", "skip": "skipped"}.get(str(row.get("outcome")))
        for row in diagnoses
    ]
    return ", ".join(f"[diagnose] {what}" for what in dict.fromkeys(found) if what)


def _met(rows: Sequence[Row]) -> str:
    holds = sum(row["verdict"] == "holds" for row in rows)
    stopped = sum(row.get("outcome") == "fail" for row in rows)
    if holds == len(rows):
        return f"all {holds} requirements met"
    left = [str(row["verdict"]) for row in rows if row["verdict"] != "holds" and row.get("outcome") != "fail"]
    beside = "".join(f", {left.count(name)} {_named(name, left.count(name))}" for name in _ORDER if name in left)
    if stopped:
        return f"{stopped} of {len(rows)} requirements not met{beside}"
    return f"{holds} of {len(rows)} requirements met{beside}"


def worse(rows: Sequence[Row]) -> list[Row]:
    """Those that are significantly worse than the baseline."""
    return [row for row in rows if row.get("baseline") and row["baseline"]["worse"]]


def _named(name: str, count: int) -> str:
    if name in ("holds", "fails") and count == 1:
        return name
    return _PLURALS.get(name, name)
