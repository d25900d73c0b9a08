"""A text that fits: no headline is ever lost, and what is left out is counted."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from pytest_robust.reports.fitting import MORE, Folded, Rows, fitted

LINES = st.text("ab", min_size=1, max_size=60)
TABLES = st.builds(
    lambda rows, spared: Rows(("head", "----"), tuple(f"row {row}" for row in rows), frozenset(spared)),
    st.lists(LINES, max_size=30),
    st.sets(st.integers(0, 29)),
)
PARTS = st.lists(
    st.one_of(LINES.map("## {}".format), TABLES, LINES.map(lambda text: Folded(f"fold {text}"))), min_size=1, max_size=8
)


@given(PARTS, st.integers(0, 4000))
def test_headlines_and_heads_stay_and_what_is_left_out_is_counted(parts, longest):
    text = fitted(parts, longest)
    fixed = sum(100 if isinstance(part, Rows) else len(part) + 2 for part in parts if not isinstance(part, Folded))
    assert len(text) <= max(longest, fixed + len(MORE) + 2)
    lines = text.splitlines()
    assert [line for line in lines if line.startswith("## ")] == [part for part in parts if isinstance(part, str)]
    tables = [part for part in parts if isinstance(part, Rows)]
    assert lines.count("head") == len(tables)
    shown = sum(line.startswith("row ") for line in lines)
    left = sum(map(int, re.findall(r"^\((\d+) of \d+ rows are left out", text, re.MULTILINE)))
    assert shown + left == sum(len(table.rows) for table in tables)
    folds = sum(isinstance(part, Folded) for part in parts)
    assert (MORE in text) == (sum(line.startswith("fold ") for line in lines) < folds)


@given(PARTS)
def test_nothing_is_left_out_where_there_is_room(parts):
    text = fitted(parts, 10**6)
    assert MORE not in text
    assert "left out" not in text


def test_rows_that_nobody_misses_go_first():
    table = Rows(("head",), ("✅ one", "❌ two", "✅ three"), frozenset({0, 2}))
    assert table.within(8) == "head\n❌ two\n\n(2 of 3 rows are left out here; results.json has them.)"
