"""A process that trains recipes for another one: it reads them from its input and leaves the models in the store.

Started as ``python -m pytest_robust.models.training_worker`` by `parallel`; not meant to be called by people. A new
process instead of a fork, because torch's threads do not survive one, and instead of `multiprocessing`, which would run
the user's main script a second time.
"""

from __future__ import annotations

import pickle
import sys
import time
from typing import Any

from pytest_robust.catalogue import Registries
from pytest_robust.models.trained import load_or_train
from pytest_robust.store.artifacts import ArtifactStore


def serve() -> None:
    """Train what comes in until the input ends; answer with whether it was built and the seconds it took."""
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr  # whatever a network prints must not mix with the answers
    registries = Registries()
    while True:
        try:
            recipe, root, device = pickle.load(requests)
        except EOFError:
            return
        start = time.perf_counter()
        answer: Any
        try:
            _, built = load_or_train(recipe, ArtifactStore(root), device, registries.architectures)
            answer = built, time.perf_counter() - start
        except Exception as error:
            answer = repr(error)
        pickle.dump(answer, answers)
        answers.flush()


if __name__ == "__main__":
    serve()
