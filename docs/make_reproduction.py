"""Write docs/reproduction.md from the results files under docs/results/: ``python docs/make_reproduction.py``.

Every figure in that page comes from a ``results.json`` that ``--robust-report`` wrote; none is typed by hand.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tabulate import tabulate

from pytest_robust.claims.paper import Paper
from pytest_robust.reports.summary import INFORMATION, claims_markdown, verdict_counts
from pytest_robust.studies.portability import PortabilityMatrix
from pytest_robust.studies.ranking import RobustnessRanking

HERE = Path(__file__).parent
PAGE = HERE / "reproduction.md"
HEAD = """# Reproduction

What this program measured of the papers' claims, beside the papers' own figures. This page is made by
`docs/make_reproduction.py` from the results files under `docs/results/`; the command under each heading measures the
same again with today's code, and a remark says where a file is older or a part of it was left out.

A number is the paper's claim: D is a direction, asserted on every data set, A a threshold of the paper's own, asserted
with `--scale=paper` on its own data sets. A claim that does not reproduce stays here and in the suite, as a strict
expected failure with its figure. A verdict is given on the interval or the paired test shown; *inconclusive* says that
the images cannot tell.
"""
#: What the command alone does not say of a file: what has changed since, or was left out.
REMARKS = {
    "mismatch-mnist-paper.json": "Measured before Gaussian noise ended at a standard deviation of 1/√3 and salt and "
    "pepper was the least of ten draws, as Foolbox has them, and before the adaptive rows were the worst of a cascade: "
    "theirs are one PGD's, and too low.",
    "exploring-mnist-paper.json": "Run with `-k 'not adaptive'`: the rows under an adaptive attacker were not measured "
    "at this scale. Its networks were trained in an earlier run of the same command, which was interrupted.",
    "dustbin-mnist-paper.json": "Measured before claims 4D, 5 and 6D had their present form, and before there were "
    "adaptive rows.",
}


def page(folder: Path = HERE / "results") -> str:
    """The whole page, a section for each results file."""
    runs = {path: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))}
    sections = [section(path, results) for path, results in runs.items()]
    return "\n".join([HEAD, *sections, seeds(folder / "seeds"), unmeasured(list(runs.values()))])


def unmeasured(runs: list[dict[str, Any]]) -> str:
    """The papers' own thresholds, asserted at `paper` scale alone, that no results file here has a figure for."""
    measured = {
        (claim["paper"], claim["dataset"]) for run in runs for claim in run["claims"] if claim["scale"] == "paper"
    }
    files = [Paper.read(path) for path in sorted((HERE.parent / "robustness_tests" / "claims").glob("*.toml"))]
    missing = [
        f"- {paper.key} on {dataset}: {', '.join(thresholds)}"
        for paper in files
        for dataset, thresholds in paper.data.get("thresholds", {}).items()
        if dataset != "any" and (paper.key, dataset) not in measured
    ]
    if not missing:
        return ""
    head = "The suite asserts these thresholds of the papers with `--scale=paper`; nobody has run them for this page."
    return "\n".join(["## Not measured yet", "", head, "", *missing, ""])


def seeds(folder: Path) -> str:
    """How the verdicts of one run came out with other seeds: networks, samples and starts all drawn anew."""
    runs = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    if not runs:
        return ""
    rows: dict[tuple[str, ...], dict[int, str]] = {}
    for run in runs:
        for claim in run["claims"]:
            if claim["verdict"] != INFORMATION:
                key = (f"{claim['paper']} {claim['claim']}", claim["defense"], claim["attack"])
                rows.setdefault(key, {})[run["settings"]["seed"]] = claim["verdict"]
    settings, drawn = runs[0]["settings"], [run["settings"]["seed"] for run in runs]
    headers = ("claim", "defense", "attack", *(f"seed {seed}" for seed in drawn))
    return "\n".join(
        [
            f"## {settings['dataset']}, `{settings['scale']}` scale, {len(runs)} seeds",
            "",
            f"`{command(runs[0])} --robust-seed=N --robust-report=DIR` ({folder.name}/*.json; N is "
            f"{', '.join(map(str, drawn))}): every network is trained anew, every sample drawn anew.",
            "",
            tabulate([(*key, *map(verdicts.get, drawn)) for key, verdicts in rows.items()], headers, tablefmt="github"),
            "",
        ]
    )


def section(path: Path, results: dict[str, Any]) -> str:
    """One run: how it was made, what it cost, its claims, and its evaluations."""
    settings, versions = results["settings"], results["versions"]
    papers = ", ".join(papers_of(results))
    precision = settings.get("precision")
    trained_in = f"networks in {' and '.join(precision)}, " if precision else ""
    notes = [
        f"- {', '.join(filter(None, (claim['claim'], claim['attack'], claim['defense'])))}: {text}"
        for claim in results["claims"]
        for text in (claim["note"], claim["reason"] if claim["verdict"] in ("fails", "unreliable") else "")
        if text
    ]
    return "\n".join(
        [
            f"## {settings['dataset']}, `{settings['scale']}` scale: {papers}",
            "",
            f"`{command(results)} --robust-report=DIR` ({path.name}; seed {settings['seed']}, device "
            f"{settings['device']}, {trained_in}torch {versions['torch']}, ART {versions['art']}). {cost(results)}.",
            "",
            *([REMARKS[path.name], ""] if path.name in REMARKS else []),
            verdict_counts(results["claims"]) + ".",
            "",
            claims_markdown(results["claims"]),
            "",
            "Beside them:" if notes else "",
            "",
            *notes,
            "",
            *studies(results),
        ]
    )


def papers_of(results: dict[str, Any]) -> list[str]:
    """The papers whose claims a run judged, sorted."""
    return sorted({claim["paper"] for claim in results["claims"]})


def command(results: dict[str, Any]) -> str:
    """What measures a run's claims again."""
    settings = results["settings"]
    chosen = [f"--defense={','.join(settings['defenses'])}"] if settings["defenses"] else []
    suites = [f"robustness_tests/test_{paper}.py" for paper in papers_of(results)]
    words = ["pytest", *(["robustness_tests/", *chosen] if chosen else suites), f"--dataset={settings['dataset']}"]
    if settings.get("family"):
        option = family_option(settings["family"])
        words += [f"--family={option}"]
        if option != settings["family"]:  # the example's weights are not in the repository
            words.insert(0, "SMALL_IMAGENET_WEIGHTS=DIR")
    if settings["dataset"] != "digits":
        words.append("--data-root=DIR")
    if settings["scale"] != "quick":
        words.append(f"--scale={settings['scale']}")
    return " ".join(words)


def cost(results: dict[str, Any]) -> str:
    """What a run spent, and what it found in the cache."""
    spent = results["spent"]
    found = f"; from the cache: {spent['models_loaded']} models, {spent['sets_reused']} adversarial sets"
    return (
        f"{spent['models_trained']} models trained in {spent['training_seconds']:.0f} s, "
        f"{spent['sets_crafted']} adversarial sets crafted in {spent['attacking_seconds']:.0f} s"
        + (found if spent["models_loaded"] or not spent["sets_crafted"] else "")
    )


def family_option(title: str) -> str:
    """The option that names a family: of a file among the examples, its path from the repository's root."""
    inside = Path("examples") / title
    return inside.as_posix() if (HERE.parent / str(inside).partition(":")[0]).is_file() else title


def studies(results: dict[str, Any]) -> list[str]:
    """The tables of a run that compared networks."""
    kinds = {"robustness ranking": RobustnessRanking, "portability matrix": PortabilityMatrix}
    lines = []
    for plain in results.get("studies", []):
        study = kinds[plain["study"]].from_dict(plain)
        title = (
            f"{plain['study'][0].upper()}{plain['study'][1:]}, family {study.family}, {study.images} images attacked"
        )
        lines += [f"### {title}", "", study.table("github"), ""]
    return lines


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"wrote {PAGE.name}")
