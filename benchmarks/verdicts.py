"""How often the gate's verdicts are wrong, and how many images they take: models of known rate, thousands of runs.

    python benchmarks/verdicts.py --json benchmarks/results/verdicts.json   # measure: minutes on one core
    python benchmarks/verdicts.py --page docs/verdicts.md                   # write the tables of the page from it

Fixed-sample and sequential gates around the thresholds 0.5, 0.9 and 0.99; as a control the gate that looks at the
fixed-sample interval after every batch; releases of twenty requirements against a baseline, with and without the
correction. The page's tables stand between the two marks in it.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from tabulate import tabulate
from verdict_simulation import CONFIDENCE, Gate, Release, called_worse, images_for_power, once, sequentially

from pytest_robust.evaluation.rate import Rate

RESULTS = Path(__file__).parent / "results" / "verdicts.json"
MARKS = "<!-- measured: written by benchmarks/verdicts.py -->", "<!-- end of measured -->"
THRESHOLDS = 0.5, 0.9, 0.99
OFFSETS = -0.05, -0.02, -0.01, 0.0, 0.01, 0.02, 0.05
TEST_SETS = 1000, 2000, 10_000

#: Name, judge, and the looks: a fixed sample has one.
GATES: list[tuple[str, Callable[[int, int, float], int], range]] = [
    *[(f"fixed, {n} images", once, range(n, n + 1)) for n in (100, 1000, 10_000)],
    ("sequential, up to 1000 by 10", sequentially, range(10, 1001, 10)),
    ("sequential, up to 10000 by 10", sequentially, range(10, 10_001, 10)),
    ("sequential, up to 10000 by 100", sequentially, range(100, 10_001, 100)),
    ("control: fixed interval, up to 1000 by 10", once, range(10, 1001, 10)),
    ("control: fixed interval, up to 10000 by 100", once, range(100, 10_001, 100)),
]

RELEASES = {
    "same rates, same images": [Release(n, True, share) for n in (200, 1000, 10_000) for share in (0.01, 0.05, 0.2)],
    "same rates, same images, requirements in groups of 5": [Release(1000, True, 0.05, distinct=4)],
    "drop of 0.01, 0.01 allowed, same images": [
        Release(n, True, share, 0.01, 0.01) for n in (200, 1000, 10_000) for share in (0.01, 0.05)
    ],
    "same rates, other images": [Release(n, False, rate) for n in (200, 1000) for rate in THRESHOLDS],
    "drop of 0.01, 0.01 allowed, other images": [Release(1000, False, rate, 0.01, 0.01) for rate in THRESHOLDS],
}
DROPPED = [
    *[Release(n, True, 0.02, drop, 0.01) for n, drop in ((1000, 0.02), (1000, 0.03), (1000, 0.05), (10_000, 0.02))],
    *[Release(n, False, 0.9, drop, 0.01) for n, drop in ((1000, 0.03), (1000, 0.05), (10_000, 0.02))],
]


def as_json(rate: Rate) -> dict[str, float]:
    return {"k": rate.k, "n": rate.n, "lower": rate.lower, "upper": rate.upper}


def gate_cells(runs: int) -> Iterator[dict[str, Any]]:
    """Verdicts of every gate at every threshold and rate."""
    for threshold in THRESHOLDS:
        rates = [round(threshold + offset, 4) for offset in OFFSETS if threshold + offset <= 1]
        for name, judge, looks in GATES:
            gate = Gate.of(judge, threshold, looks)
            for i, rate in enumerate(rates):
                verdicts = gate.run(rate, runs, np.random.default_rng([i, *name.encode()]))
                shares = {"passes": as_json(verdicts.share(1)), "fails": as_json(verdicts.share(-1))}
                images = [int(x) for x in np.quantile(verdicts.images, [0.5, 0.9])]
                spent = {"mean": float(verdicts.images.mean()), "median": images[0], "of nine in ten": images[1]}
                yield {"gate": name, "threshold": threshold, "rate": rate, **shares, "images": spent}


def saving_cells(runs: int) -> Iterator[dict[str, Any]]:
    """Images that the sequential gate takes five points from the threshold, beside what one look would need."""
    for threshold in THRESHOLDS:
        gate = Gate.of(sequentially, threshold, range(10, max(TEST_SETS) + 1, 10))
        for rate in (round(threshold - 0.05, 4), round(threshold + 0.05, 4)):
            if rate > 1:
                continue
            verdicts = gate.run(rate, runs, np.random.default_rng([7, int(1000 * rate)]))
            yield {
                "threshold": threshold,
                "rate": rate,
                "mean images": {str(n): float(np.minimum(verdicts.images, n).mean()) for n in TEST_SETS},
                "decided": {str(n): float(((verdicts.images <= n) & (verdicts.says != 0)).mean()) for n in TEST_SETS},
                "one look": {str(power): images_for_power(threshold, rate, power) for power in (0.8, 0.9)},
            }


def release_cells(runs: int, power_runs: int) -> Iterator[dict[str, Any]]:
    """How often releases are called worse: those that are not, and those of which one requirement is."""
    for scenario, releases in RELEASES.items():
        for i, release in enumerate(releases):
            p = release.p_values(runs, np.random.default_rng([11, i, *scenario.encode()]))
            yield {"scenario": scenario, **asdict(release), "worse": as_json(called_worse(p))}
    for n in (1000, 10_000):
        release = Release(n, True, 0.05)
        p = release.p_values(runs, np.random.default_rng([12, n]), screen=-np.inf)
        worse = as_json(called_worse(p, corrected=False))
        yield {"scenario": "control: same rates, same images, no correction", **asdict(release), "worse": worse}
    for i, release in enumerate(DROPPED):
        rng = np.random.default_rng([13, i])
        one = Release(**{**asdict(release), "count": 1, "distinct": 1}).p_values(power_runs, rng)
        # The other nineteen did not drop; with p = 1 they make the correction as strict as it can be.
        p = np.concatenate([one, np.ones((power_runs, release.count - 1))], 1)
        yield {"scenario": "one of twenty dropped", **asdict(release), "worse": as_json(called_worse(p))}


def measure(runs: int, power_runs: int) -> dict[str, Any]:
    return {
        "schema": 1,
        "confidence": CONFIDENCE,
        "runs": runs,
        "power_runs": power_runs,
        "gates": list(gate_cells(runs)),
        "savings": list(saving_cells(runs)),
        "releases": list(release_cells(runs, power_runs)),
    }


def percent(share: dict[str, float]) -> str:
    """The share with its Monte-Carlo interval."""
    return f"{share['k'] / share['n']:.1%} ({share['lower']:.1%}–{share['upper']:.1%})"


def error_table(figures: dict[str, Any]) -> str:
    """One row per gate: how often it passes a model just below the threshold, fails one at it, or does either."""
    rows = []
    for gate, _, _ in GATES:
        at = [c for c in figures["gates"] if c["gate"] == gate and c["rate"] == c["threshold"]]
        worst = [max((c[says] for c in at), key=lambda s: s["k"]) for says in ("passes", "fails")]
        below = [c for c in figures["gates"] if c["gate"] == gate and c["rate"] == round(c["threshold"] - 0.02, 4)]
        either = max((Rate(c["passes"]["k"] + c["fails"]["k"], c["passes"]["n"]) for c in at), key=float)
        worst += [as_json(either), max((c["passes"] for c in below), key=lambda s: s["k"])]
        rows.append([gate, *map(percent, worst)])
    headers = ["gate", "passes, rate a hair below", "fails, rate at the threshold", "either, at the threshold"]
    headers += ["passes, two points below"]
    return tabulate(rows, headers, tablefmt="github")


def power_table(figures: dict[str, Any]) -> str:
    """How often a good model passes, by how far above the threshold it is."""
    gates = [g for g, _, _ in GATES if not g.startswith("control")]
    rows = []
    for threshold in THRESHOLDS:
        cells = [c for c in figures["gates"] if c["threshold"] == threshold and c["rate"] > threshold]
        for rate in sorted({c["rate"] for c in cells}):
            by_gate = {c["gate"]: c["passes"] for c in cells if c["rate"] == rate}
            rows.append([threshold, rate, *(f"{by_gate[g]['k'] / by_gate[g]['n']:.0%}" for g in gates)])
    return tabulate(rows, ["threshold", "true rate", *gates], tablefmt="github", disable_numparse=True)


def saving_table(figures: dict[str, Any]) -> str:
    """Mean images of the sequential gate, as a share of test sets of several sizes, and what one look needs."""
    rows = []
    for c in figures["savings"]:
        shares = [f"{c['mean images'][str(n)]:.0f} ({c['mean images'][str(n)] / n:.0%})" for n in TEST_SETS]
        decided = [f"{c['decided'][str(n)]:.0%}" for n in TEST_SETS]
        rows.append([c["threshold"], c["rate"], *shares, *decided, *c["one look"].values()])
    headers = ["threshold", "true rate"]
    headers += [f"images of {n}" for n in TEST_SETS] + [f"decided of {n}" for n in TEST_SETS]
    headers += ["one look, power 80 %", "one look, power 90 %"]
    return tabulate(rows, headers, tablefmt="github", disable_numparse=True)


def release_table(figures: dict[str, Any]) -> str:
    """One row per kind of release."""
    rows = []
    for c in figures["releases"]:
        kind = f"{c['share']:.0%} of images gained" if c["paired"] else f"old rate {c['share']:g}"
        rows.append([c["scenario"], c["n"], kind, f"{c['drop']:g}", f"{c['max_drop']:g}", percent(c["worse"])])
    headers = ["release of 20 requirements", "images", "", "true drop", "allowed", "called worse"]
    return tabulate(rows, headers, tablefmt="github", disable_numparse=True)


def page(text: str, figures: dict[str, Any]) -> str:
    """The page with its measured part written anew."""
    before, _, rest = text.partition(MARKS[0])
    after = rest.partition(MARKS[1])[2]
    measured = [
        f"{figures['runs']:,} runs per figure at confidence {figures['confidence']:.0%}; in brackets the 95 % "
        "interval of the simulation. Each figure is that of the worst of the thresholds 0.5, 0.9 and 0.99.",
        error_table(figures),
        "How often a model passes that is better than the threshold:",
        power_table(figures),
        "Images that the sequential gate takes, in batches of 10, five points from the threshold: the mean as a share "
        "of test sets of three sizes, all of which the fixed-sample gate evaluates; how often it decides before the "
        "test set ends; and how many images one look would need.",
        saving_table(figures),
        f"Releases of 20 requirements against a baseline, {figures['runs']:,} runs per row, {figures['power_runs']:,} "
        "where one dropped: how often any requirement is called worse.",
        release_table(figures),
    ]
    return before + "\n\n".join([MARKS[0], *measured, MARKS[1]]) + after


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10_000, help="per cell")
    parser.add_argument("--power-runs", type=int, default=2000, help="per cell, of releases of which one dropped")
    parser.add_argument("--json", type=Path, help="measure, and write the figures here")
    parser.add_argument("--page", type=Path, help="write the tables into this page, from the committed figures")
    options = parser.parse_args()
    if options.json:
        options.json.write_text(
            json.dumps(measure(options.runs, options.power_runs), indent=1) + "\n", encoding="utf-8"
        )
    if options.page:
        figures = json.loads(RESULTS.read_text(encoding="utf-8"))
        options.page.write_text(page(options.page.read_text(encoding="utf-8"), figures), encoding="utf-8")


if __name__ == "__main__":
    main()
