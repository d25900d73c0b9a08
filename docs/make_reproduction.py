"""Write docs/reproduction.md from the results files under docs/results/: ``python docs/make_reproduction.py``.

Every figure in that page comes from a ``results.json`` that ``--robust-report`` wrote; none is typed by hand.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pytest_robust.reports.summary import claims_markdown, verdict_counts

HERE = Path(__file__).parent
PAGE = HERE / "reproduction.md"
HEAD = """# Reproduction

What this program measured of the papers' claims, beside the papers' own figures. This page is made by
`docs/make_reproduction.py` from the results files under `docs/results/`; the command under each heading makes its
file again. A claim that does not reproduce stays here and in the suite, as a strict expected failure with its figure.
A verdict is given on the interval or the paired test shown; *inconclusive* says that the images cannot tell.
"""


def page(folder: Path = HERE / "results") -> str:
    """The whole page, a section for each results file."""
    sections = [section(path, json.loads(path.read_text(encoding="utf-8"))) for path in sorted(folder.glob("*.json"))]
    return "\n".join([HEAD, *sections])


def section(path: Path, results: dict[str, Any]) -> str:
    """One run: how it was made, what it cost, its claims, and its evaluations."""
    settings, spent, versions = results["settings"], results["spent"], results["versions"]
    command = f"pytest robustness_tests/ --defense={','.join(settings['defenses'])} --dataset={settings['dataset']}"
    if settings["scale"] != "quick":
        command += f" --scale={settings['scale']}"
    cost = (
        f"{spent['models_trained']} models trained in {spent['training_seconds']:.0f} s, "
        f"{spent['sets_crafted']} adversarial sets crafted in {spent['attacking_seconds']:.0f} s"
    )
    notes = [f"- {claim['claim']}, {claim['attack']}, {claim['defense']}: {claim['note']}" for claim in noted(results)]
    return "\n".join(
        [
            f"## {settings['dataset']}, `{settings['scale']}` scale",
            "",
            f"`{command} --robust-report=DIR` ({path.name}; seed {settings['seed']}, device {settings['device']}, "
            f"torch {versions['torch']}, ART {versions['art']}). {cost}.",
            "",
            verdict_counts(results["claims"]) + ".",
            "",
            claims_markdown(results["claims"]),
            "",
            "Counted on only those adversaries that fooled the surrogate:" if notes else "",
            "",
            *notes,
            "",
        ]
    )


def noted(results: dict[str, Any]) -> list[dict[str, Any]]:
    """The claims that come with a second count."""
    return [claim for claim in results["claims"] if claim.get("note")]


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"wrote {PAGE.name}")
