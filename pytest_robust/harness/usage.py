"""Which tests use this plugin at all; the other modules stay out of a run that has none."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

MARKER = "robust"
MARKER_HELP = (
    f"{MARKER}(paper=None, claim=None, defense=None, attack=None): what a test is about; --defense and --attack "
    "deselect tests that name others. attack may be a tuple of names: all of them must be selected."
)


def is_marked(item: object) -> bool:
    """Whether something collected is a test with the `robust` marker."""
    return isinstance(item, pytest.Item) and item.get_closest_marker(MARKER) is not None


def is_robust(item: pytest.Item) -> bool:
    """Whether a test function is marked `robust` or takes one of this plugin's fixtures.

    A requirement of a robust.toml is no function: it has a model and images of its own, not those of the run.
    """
    if not isinstance(item, pytest.Function):
        return False
    names: Sequence[str] = item.fixturenames
    return is_marked(item) or any(name == MARKER or name.startswith("robust_") for name in names)
