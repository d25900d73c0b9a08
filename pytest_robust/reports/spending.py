"""What a run spent on training, attacking and evaluating, from the ledger's events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def spent(events: Sequence[Mapping[str, Any]]) -> dict[str, float | int]:
    """Totals over all processes: seconds of work per stage, models trained and loaded, sets crafted and reused."""
    seconds, counts = _totals(events)
    return {
        "training_seconds": round(seconds["trained"], 3),
        "attacking_seconds": round(seconds["crafted"], 3),
        "evaluating_seconds": round(seconds["evaluated"], 3),
        "models_trained": counts["trained"],
        "models_loaded": counts["loaded"],
        "sets_crafted": counts["crafted"],
        "sets_reused": counts["reused"],
    }


def spent_sentence(events: Sequence[Mapping[str, Any]]) -> str:
    """``trained 4 models in 31 s, crafted 5 adversarial sets in 9 s, evaluated in 1 s``, for people."""
    seconds, counts = _totals(events)
    parts = []
    if counts["trained"]:
        parts.append(f"trained {_counted(counts['trained'], 'model')} in {_duration(seconds['trained'])}")
    if counts["crafted"]:
        parts.append(f"crafted {_counted(counts['crafted'], 'adversarial set')} in {_duration(seconds['crafted'])}")
    if not parts:
        parts.append("trained nothing, attacked nothing")
    if counts["evaluated"]:
        parts.append(f"evaluated in {_duration(seconds['evaluated'])}")
    return ", ".join(parts)


def _totals(events: Sequence[Mapping[str, Any]]) -> tuple[dict[str, float], dict[str, int]]:
    kinds = ("trained", "loaded", "crafted", "reused", "evaluated")
    seconds = {kind: sum(float(e["seconds"]) for e in events if e["event"] == kind) for kind in kinds}
    counts = {kind: sum(e["event"] == kind for e in events) for kind in kinds}
    return seconds, counts


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _duration(seconds: float) -> str:
    if seconds < 1:
        return f"{seconds:.1f} s" if seconds >= 0.05 else "under 0.1 s"
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
