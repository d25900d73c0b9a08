"""The docs' figures are those of the committed results files, and nobody typed any."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from pytest_robust.claims.paper import Paper

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


CLAIMS = sorted((DOCS.parent / "robustness_tests" / "claims").glob("*.toml"))


@pytest.mark.parametrize("path", CLAIMS, ids=lambda path: path.stem)
def test_a_contradicted_claim_has_the_figure_of_a_results_file(path: Path) -> None:
    paper = Paper.read(path)
    files = [json.loads(file.read_text(encoding="utf-8")) for file in sorted((DOCS / "results").glob("*.json"))]
    keys = ("paper", "claim", "dataset", "scale", "measured")
    measured = {
        tuple(claim[key] for key in keys): claim["verdict"]
        for results in files
        for claim in results["claims"]
        if results["settings"]["seed"] == 0
    }
    for entry in paper.data.get("contradicted", []):
        verdict = measured.get((paper.key, *(entry[key] for key in keys[1:])))
        # Undecided where a figure is close and another processor contradicts it: the entry's comment says so.
        assert verdict in ("fails", "inconclusive"), entry
