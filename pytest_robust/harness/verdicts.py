"""A claim's verdict as the outcome of the test that recorded it."""

from __future__ import annotations

from typing import Protocol

import pytest

from pytest_robust.harness.records import record_claim
from pytest_robust.reports.summary import explanation


class AsDict(Protocol):
    """A claim, as far as recording it goes."""

    def as_dict(self) -> dict[str, object]:
        """Its figures and its verdict as plain data."""


class ClaimFailed(pytest.fail.Exception):  # type: ignore[misc, name-defined]  # pytest makes the attribute at run time
    """A claim that the figures contradict; what a strict expected failure names, as nothing else may pass for it."""

    __module__ = "builtins"  # as pytest's own outcomes do it, so that summaries print the name alone


def apply_verdict(item: pytest.Item, claim: AsDict) -> None:
    """Record `claim` for the summary; return if it holds or only informs, fail or skip the test if it does not.

    Raises:
        pytest.fail.Exception: it fails, or its evaluation is unreliable.
        pytest.skip.Exception: there are too few images to tell.
        TypeError: `claim` is no claim.
    """
    __tracebackhide__ = True
    if not hasattr(claim, "as_dict"):
        raise TypeError(f"robust_record takes a Claim, not {type(claim).__name__}.")
    kept = record_claim(item, claim.as_dict())
    verdict = kept["verdict"]
    if verdict == "inconclusive":
        pytest.skip(explanation(kept))
    if verdict == "fails":
        raise ClaimFailed(explanation(kept), pytrace=False)
    if verdict not in ("holds", "information"):
        pytest.fail(explanation(kept), pytrace=False)
