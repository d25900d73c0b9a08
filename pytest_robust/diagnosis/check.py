"""A Check: what one examination of an evaluation saw, how grave it is, and what to do about it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Severity(StrEnum):
    """What a raised check means for the figures of the evaluation."""

    ERROR = "error"  #: they prove nothing
    WARNING = "warning"  #: they may be too good: look before you trust them


class Outcome(StrEnum):
    """What a check said."""

    SOUND = "sound"  #: nothing was seen
    FLAGGED = "flagged"  #: something was
    NOT_APPLICABLE = "not applicable"  #: there is nothing here that it could look at


class NotApplicable(Exception):  # noqa: N818 - it is an answer and no error
    """A check has nothing to look at here; the message is its sentence."""


@dataclass(frozen=True)
class Finding:
    """What an examination saw.

    Args:
        flagged: whether it is a sign of a broken evaluation.
        sentence: what was seen, on how many images, and where `flagged` what to do.
        n: images (or images and starts) that it looked at.
        figures: the figures behind the sentence.
        severity: where it differs from the check's own.
    """

    flagged: bool
    sentence: str
    n: int
    figures: Mapping[str, float] = field(default_factory=dict)
    severity: Severity | None = None


@dataclass(frozen=True)
class Check:
    """The result of one check.

    Args:
        name: of the check, as docs/diagnosis.md lists it.
        severity: what it means if it is flagged.
        outcome: what it said.
        sentence: what was seen, on how many images, and what to do.
        n: images that it looked at; 0 where it does not apply.
        figures: the figures behind the sentence.
    """

    name: str
    severity: Severity
    outcome: Outcome
    sentence: str
    n: int = 0
    figures: Mapping[str, float] = field(default_factory=dict)

    @property
    def flagged(self) -> bool:
        """Whether it saw a sign of a broken evaluation."""
        return self.outcome is Outcome.FLAGGED

    def __str__(self) -> str:
        grave = f" ({self.severity})" if self.flagged else ""
        return f"{self.name} {self.outcome}{grave}: {self.sentence}"

    def as_dict(self) -> dict[str, Any]:
        """Plain data for reports; JSON knows no NaN."""
        figures = {name: value if math.isfinite(value) else None for name, value in self.figures.items()}
        return {
            "name": self.name,
            "severity": str(self.severity),
            "outcome": str(self.outcome),
            "sentence": self.sentence,
            "n": self.n,
            "figures": figures,
        }
