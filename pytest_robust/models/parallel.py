"""Training several recipes at the same time, one process per core, into the same store.

Small networks on CPUs hardly use a second core. On two cores, ten networks that train for some four seconds each took
two thirds of the time in two processes; of trainings under a second, the start of the processes eats the gain
(docs/benchmarks.md). On a GPU one training after the other is faster. The processes are joblib's (loky): started
anew, because torch's threads do not survive a fork, and without running the user's main script a second time, as
`multiprocessing` would.
"""

from __future__ import annotations

import pickle
import time
from collections.abc import Sequence
from concurrent.futures import BrokenExecutor
from contextlib import suppress
from pathlib import Path

import torch
from joblib import Parallel, delayed, parallel_config
from joblib.externals.loky import get_reusable_executor

from pytest_robust.catalogue import Registries
from pytest_robust.models.progress import Progress, SilentProgress
from pytest_robust.models.recipe import Recipe
from pytest_robust.models.trained import load_or_train
from pytest_robust.store.artifacts import ArtifactStore


def processes_for(count: int, device: torch.device) -> int:
    """How many processes train `count` recipes: one for each CPU thread of this one; on another device, 1."""
    return min(count, torch.get_num_threads()) if device.type == "cpu" else 1


def train_in_parallel(
    recipes: Sequence[Recipe], root: Path, device: torch.device, processes: int, progress: Progress | None = None
) -> dict[int, float]:
    """Train `recipes` into the store at `root`, and return the seconds of each that was built, by its position.

    A recipe that a process cannot train (an architecture or a loss that only the caller knows, a training that
    diverges) is left out: whoever trains it next, in the calling process, meets the error itself.

    Args:
        recipes: what to train; they share nothing but the store.
        root: folder of the artifact store.
        device: where; a CPU.
        processes: how many at one time.
        progress: told about every recipe that is done.
    """
    told = progress or SilentProgress()
    told.begin(f"training {len(recipes)} networks in {processes} processes", len(recipes))
    threads = max(1, torch.get_num_threads() // processes)
    jobs = (delayed(_train)(position, recipe, root, device) for position, recipe in enumerate(recipes))
    built: dict[int, float] = {}
    try:
        # A process that dies, or cannot be told what to train, ends the lot: the store keeps what is done.
        with parallel_config("loky", inner_max_num_threads=threads), suppress(BrokenExecutor, *_UNSENDABLE):
            for position, seconds, new in Parallel(processes, return_as="generator_unordered")(jobs):
                told.step({"seconds": seconds})
                if new:
                    built[position] = seconds
    finally:
        told.end()
        # Idle processes would keep their memory while the attacks run.
        get_reusable_executor().shutdown(wait=True, kill_workers=True)
    return built


#: What pickling raises for an object that another process cannot be told of.
_UNSENDABLE = (pickle.PicklingError, AttributeError, TypeError)


def _train(position: int, recipe: Recipe, root: Path, device: torch.device) -> tuple[int, float, bool]:
    """In another process: position, seconds, and whether a model was built."""
    start = time.perf_counter()
    built = False
    with suppress(Exception):  # told by the training in the calling process
        _, built = load_or_train(recipe, ArtifactStore(root), device, Registries().architectures)
    return position, time.perf_counter() - start, built
