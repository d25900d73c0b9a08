"""The header line, and what device "auto" and xdist's workers come to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_robust.harness.devices import no_accelerator, worker_device

LINE = "robust: device cpu, data set digits, scale quick, seed 0, cache *"


def test_the_header_says_what_the_options_come_to(suite):
    result = suite("def test(): pass", "--device=cpu", "--defense=wall", "--robust-cache=here")
    result.stdout.fnmatch_lines([LINE + "/here, defenses wall"])
    assert result.stdout.str().count("robust: device") == 1


def test_a_run_of_robust_toml_alone_has_no_data_set_of_the_plugins(suite, pytester):
    (pytester.path / "robust.toml").write_text("")
    gate = pytester.runpytest("robust.toml", "--device=cpu")
    gate.stdout.fnmatch_lines(["robust: device cpu, seed 0, cache *"])
    both = suite("def test(): pass", "robust.toml", "test_it.py", "--device=cpu")
    both.stdout.fnmatch_lines([LINE])


def test_without_options_the_line_comes_with_the_tests_that_need_it(suite):
    assert "robust: device" not in suite("def test(): pass").stdout.str()
    result = suite("def test(robust_bench): pass")
    result.stdout.fnmatch_lines(["collected 1 item*", "robust: device auto*, data set digits, scale quick, seed 0, *"])
    assert "robust: device" not in suite("def test(robust_bench): pass", "-q").stdout.str()


def test_the_cache_under_the_home_folder_is_written_short(suite, monkeypatch, pytester):
    monkeypatch.setenv("HOME", str(pytester.path))
    monkeypatch.delenv("XDG_CACHE_HOME")
    suite("def test(): pass", "--device=cpu").stdout.fnmatch_lines(["*cache ~/.cache/pytest-robust"])


@pytest.mark.parametrize(
    ("device", "worker", "count", "expected"),
    [
        ("cuda", "gw0", 2, "cuda:0"),
        ("cuda", "gw1", 2, "cuda:1"),
        ("cuda", "gw5", 4, "cuda:1"),
        ("cuda", "gw3", 1, "cuda"),
        ("cuda", None, 4, "cuda"),
        ("cuda:2", "gw0", 4, "cuda:2"),
        ("cpu", "gw0", 4, "cpu"),
        ("cuda", "a-name", 4, "cuda:0"),
    ],
)
def test_workers_take_gpus_in_turn(device, worker, count, expected):
    assert worker_device(device, worker, count) == expected


@given(st.integers(2, 16), st.integers(1, 64))
def test_no_gpu_has_two_workers_more_than_another(count, workers):
    taken = [worker_device("cuda", f"gw{i}", count) for i in range(workers)]
    shares = [taken.count(f"cuda:{i}") for i in range(count)]
    assert sum(shares) == workers
    assert max(shares) - min(shares) <= 1


def test_a_gpu_is_ruled_out_only_where_every_driver_leaves_a_file():
    assert no_accelerator("linux", lambda _: False)
    assert not no_accelerator("linux", lambda path: path == "/dev/dxg")
    assert not no_accelerator("darwin", lambda _: False)
    assert not no_accelerator("win32", lambda _: False)
