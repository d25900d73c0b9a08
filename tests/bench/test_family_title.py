"""What a family is called in reports and in a paper's file: the same on every machine."""

from __future__ import annotations

import pytest

from pytest_robust.bench.families import family_title


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("digits", "digits"),
        ("package.module:models", "package.module:models"),
        ("anywhere/examples/own-family/models.py:models", "own-family/models.py:models"),
        ("models.py:models", "models.py:models"),
    ],
)
def test_a_file_keeps_its_own_folder_alone(name: str, title: str) -> None:
    assert family_title(name) == title
