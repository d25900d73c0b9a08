"""Claims and verdicts in words: the table on the terminal, the table in the docs, the sentence of a failed test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tabulate import tabulate

Claim = Mapping[str, Any]

#: The verdict of a figure that nobody claimed.
INFORMATION = "information"
_HEADERS = ("claim", "defense", "data set", "attack", "measured", "threshold", "paper", "verdict")
#: Wider cells are wrapped, so that a row with eight of them fits 160 columns.
_WIDTHS = (22, 24, 14, 24, 40, 10, 18, 22)


def claims_table(claims: Sequence[Claim]) -> str:
    """A row per claim, as plain text of at most about 160 columns."""
    rows = [_row(claim) for claim in claims]
    # Text that looks like a number would lose its digits, and the widths wrap text only.
    return tabulate(rows, _HEADERS, tablefmt="simple", maxcolwidths=list(_WIDTHS), disable_numparse=True)


def claims_markdown(claims: Sequence[Claim]) -> str:
    """A row per claim with its statement, as a GitHub table."""
    headers = ("claim", "statement", *_HEADERS[1:])
    rows = [[_cell(text) for text in (_name(c), _text(c, "statement"), *_row(c)[1:])] for c in claims]
    return tabulate(rows, headers, tablefmt="github", disable_numparse=True)


def explanation(claim: Claim) -> str:
    """The sentence that a failed, unreliable or undecided claim is reported with.

    What was claimed and where, what was measured, what was asked for, and why the verdict is what it is.
    """
    where = ", ".join(_text(claim, key) for key in ("defense", "dataset", "attack", "threat_model") if claim.get(key))
    parts = [
        f"claim {_name(claim)} {_verdict_phrase(claim)}: {_text(claim, 'statement')}",
        f"measured {_text(claim, 'measured')}, needed {_threshold(claim)}" + (f" ({where})" if where else ""),
    ]
    if claim.get("paper_figure"):
        parts.append(f"the paper gives {claim['paper_figure']}")
    parts += [str(claim[key]) for key in ("reason", "note") if claim.get(key)]
    return "; ".join(part.rstrip(".; ") for part in parts) + "."


def verdict_counts(claims: Sequence[Claim]) -> str:
    """How many claims hold, fail and so on, in one line: ``5 claims: 3 hold, 1 fails, 1 inconclusive``.

    Figures that are shown for information are no claims, and counted apart.
    """
    verdicts = [str(claim["verdict"]) for claim in claims if claim["verdict"] != INFORMATION]
    shown = len(claims) - len(verdicts)
    noun = "claim" if len(verdicts) == 1 else "claims"
    counts = [(verdicts.count(name), name) for name in dict.fromkeys((*_ORDER, *verdicts))]
    words = [f"{count} {_plural(name, count)}" for count, name in counts if count]
    beside = f"; {shown} {'figure' if shown == 1 else 'figures'} for information" if shown else ""
    return f"{len(verdicts)} {noun}: {', '.join(words) or 'none'}{beside}"


_ORDER = ("holds", "fails", "inconclusive", "unreliable")


def _plural(verdict: str, count: int) -> str:
    return {"holds": "hold", "fails": "fail"}.get(verdict, verdict) if count > 1 else verdict


def _verdict_phrase(claim: Claim) -> str:
    verdict = _text(claim, "verdict")
    return verdict if verdict in ("holds", "fails") else f"is {verdict}"


def _name(claim: Claim) -> str:
    return " ".join(str(claim[key]) for key in ("paper", "claim") if claim.get(key))


def _row(claim: Claim) -> tuple[str, ...]:
    expected = claim.get("expected")
    verdict = _text(claim, "verdict") + (f" ({expected})" if expected else "")
    attack = ", ".join(_text(claim, key) for key in ("attack", "threat_model") if claim.get(key))
    tested = (_text(claim, "defense"), _text(claim, "dataset"), attack, _text(claim, "measured"))
    return (_name(claim), *tested, _threshold(claim), _text(claim, "paper_figure"), verdict)


def _threshold(claim: Claim) -> str:
    return f"{_text(claim, 'comparison')} {_text(claim, 'threshold')}".strip()


def _text(claim: Claim, key: str) -> str:
    value = claim.get(key)
    return "" if value is None else str(value)


def _cell(text: str) -> str:
    return " ".join(text.replace("|", r"\|").split())
