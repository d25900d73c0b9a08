"""The artifact store under SIGKILL and under several processes: nothing is lost, nothing is built twice."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
import torch

from pytest_robust.store.artifacts import Artifact, ArtifactStore

KEY = "ab" + "0" * 62
PATIENCE = 120  # seconds until a process that says nothing counts as stuck

# One server imports torch once; every process of these tests is forked from it.
processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(["pytest_robust.store.artifacts"])


@contextmanager
def running(target: Callable[..., None], *args: Any) -> Iterator[tuple[Any, Connection]]:
    """A process that runs `target` with one end of a pipe, and the other end."""
    here, there = processes.Pipe()
    process = processes.Process(target=target, args=(there, *args))
    process.start()
    there.close()
    try:
        yield process, here
    finally:
        if process.is_alive():
            os.kill(process.pid, signal.SIGKILL)
        process.join(PATIENCE)


def hear(pipe: Connection) -> Any:
    assert pipe.poll(PATIENCE), "the other process says nothing"
    return pipe.recv()


def kill(process: Any) -> None:
    os.kill(process.pid, signal.SIGKILL)
    process.join(PATIENCE)
    assert process.exitcode == -signal.SIGKILL


def build_and_stop(pipe: Connection, root: Path, point: str, calls_before: int) -> None:
    """Build, and stand still in `point` ("build", or a function of `os`) once it was passed `calls_before` times."""
    real, calls = getattr(os, point, None), 0

    def stand_still(*args: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > calls_before:
            pipe.send("here")
            signal.pause()
        return real(*args) if real else None

    def build() -> Artifact:
        if point == "build":
            stand_still()
        return Artifact({"w": torch.ones(1000)}, {"by": "the first"})

    if real:
        setattr(os, point, stand_still)
    ArtifactStore(root).get_or_build("model", KEY, build)


def second() -> Artifact:
    return Artifact({"w": torch.ones(1000)}, {"by": "the second"})


@pytest.mark.parametrize(
    ("point", "calls_before", "by"),
    [
        ("build", 0, "the second"),
        ("fsync", 0, "the second"),
        ("replace", 0, "the second"),
        ("fsync", 1, "the first"),  # the folder's: the file has its name already
    ],
)
def test_a_run_after_a_killed_one_goes_through(tmp_path: Path, point: str, calls_before: int, by: str) -> None:
    with running(build_and_stop, tmp_path, point, calls_before) as (process, pipe):
        assert hear(pipe) == "here"
        kill(process)
    artifact, built = ArtifactStore(tmp_path).get_or_build("model", KEY, second)
    assert artifact.metadata == {"by": by}
    assert built == (by == "the second")
    assert torch.equal(artifact.tensors["w"], torch.ones(1000))
    assert not (tmp_path / "damaged").exists()


def test_a_reader_does_not_wait_for_a_builder(tmp_path: Path) -> None:
    with running(build_and_stop, tmp_path, "build", 0) as (_, pipe):
        assert hear(pipe) == "here"  # and so it holds the lock
        store = ArtifactStore(tmp_path)
        assert store.read("model", KEY) is None
        store.write("model", KEY, second())
        artifact, built = store.get_or_build("model", KEY, second)
    assert artifact.metadata == {"by": "the second"}
    assert not built


def build_when_told(pipe: Connection, root: Path) -> None:
    def build() -> Artifact:
        pipe.send("building")
        pipe.recv()
        with (root / "builds").open("a") as log:
            log.write(f"{os.getpid()}\n")
        return Artifact({"w": torch.rand(5)})

    class Tell(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            pipe.send("waiting" if "waiting for it" in record.getMessage() else record.getMessage())

    log = logging.getLogger("pytest_robust.store.artifacts")
    log.addHandler(Tell())
    log.setLevel(logging.INFO)
    artifact, built = ArtifactStore(root).get_or_build("model", KEY, build)
    pipe.send((built, artifact.tensors["w"].tolist()))


def test_two_processes_that_need_the_same_build_it_once(tmp_path: Path) -> None:
    with running(build_when_told, tmp_path) as (_, first):
        assert hear(first) == "building"
        with running(build_when_told, tmp_path) as (_, other):
            assert hear(other) == "waiting"
            first.send("go on")
            built, weights = hear(first)
            built_by_other, weights_of_other = hear(other)
    assert (built, built_by_other) == (True, False)
    assert weights == weights_of_other
    assert len((tmp_path / "builds").read_text().splitlines()) == 1


def test_who_waited_for_a_killed_builder_builds(tmp_path: Path) -> None:
    with running(build_and_stop, tmp_path, "build", 0) as (builder, pipe):
        assert hear(pipe) == "here"
        with running(build_when_told, tmp_path) as (_, waiting):
            assert hear(waiting) == "waiting"
            kill(builder)
            assert hear(waiting) == "building"
            waiting.send("go on")
            built, _ = hear(waiting)
    assert built
