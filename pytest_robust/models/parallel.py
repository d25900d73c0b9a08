"""Training several recipes at the same time, one process per core, into the same store.

Small networks on CPUs cannot use a second core: on two cores, two processes of one thread each train nearly twice as
fast as one process of two threads. On a GPU one training after the other is faster.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import torch

from pytest_robust.models.progress import Progress, SilentProgress
from pytest_robust.models.recipe import Recipe


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
    idle: SimpleQueue[subprocess.Popen[bytes]] = SimpleQueue()
    threads = max(1, torch.get_num_threads() // processes)
    workers = [_start(threads) for _ in range(processes)]
    for worker in workers:
        idle.put(worker)
    built: dict[int, float] = {}
    try:
        with ThreadPoolExecutor(processes) as pool:
            jobs = {pool.submit(_ask, idle, (r, root, device)): i for i, r in enumerate(recipes)}
            for job in as_completed(jobs):
                answer = job.result()
                if isinstance(answer, tuple):
                    told.step({"seconds": answer[1]})
                    if answer[0]:
                        built[jobs[job]] = answer[1]
    finally:
        told.end()
        for worker in workers:
            _stop(worker)
    return built


def _start(threads: int) -> subprocess.Popen[bytes]:
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": str(threads),
        # What this process can import, it can import as well.
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
    command = [sys.executable, "-m", "pytest_robust.models.training_worker"]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
    )


def _ask(idle: SimpleQueue[subprocess.Popen[bytes]], request: Any) -> Any:
    """The answer of an idle process; None if it cannot be asked or died."""
    worker = idle.get()
    requests, answers = worker.stdin, worker.stdout
    try:
        if requests is None or answers is None:
            return None
        requests.write(pickle.dumps(request))
        requests.flush()
        return pickle.load(answers)
    except (OSError, EOFError, pickle.PicklingError, AttributeError, TypeError):
        return None
    finally:
        idle.put(worker)


def _stop(worker: subprocess.Popen[bytes]) -> None:
    worker.kill()
    worker.wait()
    for stream in (worker.stdin, worker.stdout):
        if stream is not None:
            with suppress(OSError):  # what is still in a pipe whose reader is gone cannot be written
                stream.close()
