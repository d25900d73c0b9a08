"""What an ensemble's training costs in trainings of one member: `Bench.train_all` against one network at a time.

The members of a bagged ensemble of the ensembles paper's MNIST network, trained into a new cache folder each time: one
member, all of them one after the other, and all at the same time as `train_all` does it (a process per core, started
anew and counted). The three take turns, and the medians count.

    python benchmarks/ensemble_training.py [--dataset NAME] [--data-root DIR] [--epochs N] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from tabulate import tabulate

from pytest_robust.bench.bench import Bench
from pytest_robust.bench.profile import profile_for
from pytest_robust.bench.settings import Settings
from pytest_robust.defenses.ensemble import Ensemble
from pytest_robust.models.parallel import processes_for

Way = Callable[[Bench, Ensemble], object]


def one(bench: Bench, ensemble: Ensemble) -> object:
    return bench.train(ensemble.recipes(bench)[0])


def one_after_the_other(bench: Bench, ensemble: Ensemble) -> object:
    return [bench.train(recipe) for recipe in ensemble.recipes(bench)]


def at_the_same_time(bench: Bench, ensemble: Ensemble) -> object:
    return bench.train_all(ensemble.recipes(bench))


WAYS: dict[str, Way] = {
    "one member": one,
    "all, one after the other": one_after_the_other,
    "all, train_all": at_the_same_time,
}


def seconds(way: Way, settings: Settings, profile: dict[str, object], ensemble: Ensemble) -> float:
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(replace(settings, cache=Path(folder))).with_profile(**profile)
        _ = bench.train_split  # the images are read before the clock starts
        start = time.perf_counter()
        way(bench, ensemble)
        return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--members", type=int, default=10)
    parser.add_argument("--epochs", type=int, help="the profile's at quick scale if not given")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    settings = Settings(dataset=options.dataset, data_root=options.data_root, device=options.device)
    epochs = options.epochs or profile_for(options.dataset, "quick").epochs
    # Every epoch is trained, so that all members cost the same.
    profile = {"architecture": "small_cnn", "epochs": epochs, "patience": None}
    ensemble = Ensemble("bagging", options.members)
    spent: dict[str, list[float]] = {name: [] for name in WAYS}
    for _ in range(options.repeats):
        for name, way in WAYS.items():
            spent[name].append(seconds(way, settings, profile, ensemble))
    unit = statistics.median(spent["one member"])
    medians = {name: statistics.median(times) for name, times in spent.items()}
    rows = [[name, median, median / unit] for name, median in medians.items()]
    print(tabulate(rows, [f"{options.dataset}, {options.members} members", "seconds", "× one"], floatfmt=".2f"))
    figures = {
        "dataset": options.dataset,
        "members": options.members,
        "epochs": epochs,
        "repeats": options.repeats,
        "device": options.device,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "processes": processes_for(options.members, torch.device(options.device)),
        "seconds": {name: {"median": medians[name], "all": times} for name, times in spent.items()},
        "ratio": {name: median / unit for name, median in medians.items()},
    }
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
