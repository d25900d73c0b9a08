"""The docs' figures are those of the committed results files, and nobody typed any."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


def make_reproduction():
    spec = importlib.util.spec_from_file_location("make_reproduction", DOCS / "make_reproduction.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_page_is_what_the_results_files_say() -> None:
    module = make_reproduction()
    assert module.PAGE.read_text(encoding="utf-8") == module.page()


@pytest.mark.parametrize("path", sorted((DOCS / "results").glob("*.json")), ids=lambda path: path.stem)
def test_results_files_are_whole(path: Path) -> None:
    results = json.loads(path.read_text(encoding="utf-8"))
    assert results["schema"] == 1
    assert results["claims"]
    for claim in results["claims"]:
        if claim["value"] is not None:
            assert claim["lower"] <= claim["value"] <= claim["upper"], claim["claim"]
