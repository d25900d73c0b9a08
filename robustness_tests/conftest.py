"""What every paper's tests share: contradicted claims are strict expected failures, with their figure."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_robust.bench.bench import Bench
from pytest_robust.claims.paper import Paper

CLAIMS = Path(__file__).parent / "claims"


@pytest.fixture(autouse=True)
def contradicted(request: pytest.FixtureRequest) -> None:
    """Expect a failure where the paper's file says that the reproduction contradicts the claim, strictly."""
    marker = request.node.get_closest_marker("robust")
    if marker is None or "paper" not in marker.kwargs:
        return
    bench: Bench = request.getfixturevalue("robust_bench")
    callspec = getattr(request.node, "callspec", None)
    where = {
        **({} if callspec is None else callspec.params),
        "claim": marker.kwargs["claim"],
        "dataset": bench.settings.dataset,
        "scale": bench.settings.scale,
    }
    reason = Paper.read(CLAIMS / f"{marker.kwargs['paper']}.toml").contradiction(**where)
    if reason is not None:
        # Only a failed claim is expected: missing data or a bug must not pass for a contradiction.
        request.applymarker(pytest.mark.xfail(reason=reason, strict=True, raises=pytest.fail.Exception))
