"""A Diagnosis: the checks on one evaluation, what they raised, and what that makes of a verdict."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tabulate import tabulate

from pytest_robust.diagnosis.check import Check, Outcome, Severity
from pytest_robust.errors import UnsoundEvaluationError
from pytest_robust.evaluation.verdict import Judgement, Verdict

#: Columns of the table; sentences are wrapped at the last one.
_HEADERS, _WIDTHS = ("check", "outcome", "n", "what was seen"), (None, None, None, 90)


@dataclass(frozen=True)
class Diagnosis:
    """The checks on an evaluation, in the order in which they were run.

    Sound means that no sign of a broken evaluation was seen; it does not mean that the attack is the strongest one.

    Args:
        model: what was evaluated.
        attack: what it was attacked with, with all parameters.
        checks: their results.
    """

    model: str
    attack: str
    checks: tuple[Check, ...]

    def __iter__(self) -> Iterator[Check]:
        return iter(self.checks)

    def __len__(self) -> int:
        return len(self.checks)

    def __getitem__(self, name: str) -> Check:
        """The check of that name; KeyError if it was not run."""
        for check in self.checks:
            if check.name == name:
                return check
        raise KeyError(name)

    @property
    def flagged(self) -> tuple[Check, ...]:
        """The checks that were raised."""
        return tuple(check for check in self.checks if check.flagged)

    @property
    def errors(self) -> tuple[Check, ...]:
        """The raised checks after which the figures prove nothing."""
        return tuple(check for check in self.flagged if check.severity is Severity.ERROR)

    @property
    def warnings(self) -> tuple[Check, ...]:
        """The raised checks after which the figures may be too good."""
        return tuple(check for check in self.flagged if check.severity is Severity.WARNING)

    @property
    def sound(self) -> bool:
        """Whether no check was raised."""
        return not self.flagged

    def raise_if_unsound(self) -> None:
        """Raise UnsoundEvaluationError with the sentences of the error-class checks that were raised, if any was."""
        self._raise(self.errors)

    def raise_if_flagged(self) -> None:
        """As `raise_if_unsound`, for warnings too."""
        self._raise(self.flagged)

    def _raise(self, checks: tuple[Check, ...]) -> None:
        if checks:
            raised = " ".join(str(check) for check in checks)
            raise UnsoundEvaluationError(f"the evaluation of {self.model} under {self.attack} is unsound: {raised}")

    def judged(self, judgement: Judgement) -> Judgement:
        """A judgement on figures of this evaluation: one that holds is unreliable where an error-class check is raised.

        One that fails stays: a broken attack makes a model look stronger and never weaker.
        """
        if judgement.verdict is not Verdict.HOLDS or not self.errors:
            return judgement
        return Judgement(Verdict.UNRELIABLE, "; ".join(f"{c.name}: {c.sentence.rstrip('.')}" for c in self.errors))

    def __str__(self) -> str:
        return f"{self.title}\n\n{self.table()}"

    def __repr__(self) -> str:
        """What a failed assertion shows: the raised checks."""
        return f"Diagnosis({'; '.join([self.title, *map(str, self.flagged)])})"

    @property
    def title(self) -> str:
        """What was examined and how many checks were raised, in one line."""
        skipped = sum(check.outcome is Outcome.NOT_APPLICABLE for check in self.checks)
        counts = [_counted(self.errors, "error"), _counted(self.warnings, "warning"), f"{skipped} not applicable"]
        return f"{self.model} under {self.attack}: {len(self)} checks, {', '.join(counts)}"

    def table(self) -> str:
        """A row per check, as plain text."""
        rows = [(c.name, _outcome(c), c.n or "", c.sentence) for c in self.checks]
        return tabulate(rows, _HEADERS, tablefmt="simple", maxcolwidths=list(_WIDTHS), disable_numparse=True)

    def markdown(self) -> str:
        """A row per check, as a GitHub table."""
        rows = [(c.name, _outcome(c), c.n or "", c.sentence.replace("|", r"\|")) for c in self.checks]
        return tabulate(rows, _HEADERS, tablefmt="github", disable_numparse=True)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for reports."""
        return {
            "model": self.model,
            "attack": self.attack,
            "sound": self.sound,
            "checks": [check.as_dict() for check in self.checks],
        }

    def json(self) -> str:
        """The same as text."""
        return json.dumps(self.as_dict(), indent=2, ensure_ascii=False)


def _counted(checks: tuple[Check, ...], noun: str) -> str:
    return f"{len(checks)} {noun}{'' if len(checks) == 1 else 's'}"


def _outcome(check: Check) -> str:
    return str(check.severity) if check.flagged else str(check.outcome)
