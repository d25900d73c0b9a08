"""Fingerprints: equal for equal settings, different for different ones, the same in every process."""

from __future__ import annotations

import functools
import importlib.util
import os
import subprocess
import sys
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pytest_robust.store.fingerprint import fingerprint, source_fingerprint, tensors_fingerprint

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(max_size=4)
plain = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3), max_leaves=8
)


def canonical(value: object) -> object:
    """The equality that fingerprints promise: types of scalars count, the order of mappings does not."""
    if isinstance(value, dict):
        return ("map", frozenset((k, canonical(v)) for k, v in value.items()))
    if isinstance(value, list):
        return ("list", tuple(canonical(v) for v in value))
    return (type(value).__name__, repr(value))


@given(plain, plain)
def test_two_values_have_one_fingerprint_exactly_if_they_are_equal(a: object, b: object) -> None:
    assert (fingerprint(a) == fingerprint(b)) == (canonical(a) == canonical(b))


@given(st.dictionaries(st.text() | st.integers(), scalars), st.randoms())
def test_the_order_of_a_mapping_does_not_count(mapping: dict[object, object], random) -> None:
    items = list(mapping.items())
    random.shuffle(items)
    assert fingerprint(dict(items)) == fingerprint(mapping)


@given(st.lists(st.integers(), min_size=2, unique=True))
def test_the_order_of_a_set_does_not_count(values: list[int]) -> None:
    # Multiples of a power of two collide in a set's table, so that the order of insertion shows.
    assert fingerprint({v * 1024 for v in values}) == fingerprint({v * 1024 for v in reversed(values)})


class Colour(Enum):
    RED = 1
    BLUE = 2


@dataclass(frozen=True)
class Settings:
    eps: float
    steps: int = 10


@dataclass(frozen=True)
class Others:
    eps: float
    steps: int = 10


LOOKALIKES = [
    1,
    1.0,
    True,
    "1",
    [1],
    [[1]],
    {1: None},
    {"1": None},
    {1},
    b"1",
    Path("1"),
    "RED",
    Colour.RED,
    Colour.BLUE,
    Settings(1.0),
    Settings(1.0, 11),
    Others(1.0),
    0.0,
    -0.0,
    float("nan"),
    None,
    "",
    [],
    {},
    torch.ones(1),
    torch.ones(1, 1),
    torch.ones(1, dtype=torch.float64),
]


def test_values_that_look_alike_all_differ() -> None:
    assert len({fingerprint(value) for value in LOOKALIKES}) == len(LOOKALIKES)


def test_numpy_scalars_count_as_the_numbers_they_are() -> None:
    assert fingerprint([np.float64(0.5), np.int64(3), np.float32(0.5)]) == fingerprint([0.5, 3, 0.5])


def test_something_with_a_fingerprint_counts_by_it() -> None:
    class Known:
        def __init__(self, text: str) -> None:
            self.fingerprint = text

    assert fingerprint([Known("a")]) == fingerprint([Known("a")]) != fingerprint([Known("b")])


@pytest.mark.parametrize("value", [object(), lambda: None, (n for n in [1]), {"deep": [object()]}])
def test_what_has_no_stable_form_is_refused(value: object) -> None:
    with pytest.raises(TypeError, match="no stable fingerprint"):
        fingerprint(value)


def test_it_is_the_same_in_every_process() -> None:
    code = (
        "from pytest_robust.store.fingerprint import fingerprint, tensors_fingerprint; import torch;"
        "print(fingerprint({'b': {3, 'x', 2.5}, 'a': [1, None]}), tensors_fingerprint({'w': torch.arange(6.0)}))"
    )
    run = [
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": s},
        ).stdout
        for s in ("1", "2")
    ]
    here = f"{fingerprint({'a': [1, None], 'b': {2.5, 'x', 3}})} {tensors_fingerprint({'w': torch.arange(6.0)})}\n"
    assert run == [here, here]


def test_tensors_count_by_name_dtype_shape_and_bytes_but_not_by_layout_or_order() -> None:
    x = torch.arange(24.0).reshape(1, 2, 3, 4)
    base = tensors_fingerprint({"a": x, "b": x})
    assert base == tensors_fingerprint({"b": x, "a": x.to(memory_format=torch.channels_last)})
    changed = [{"a": x}, {"a": x, "c": x}, {"a": x, "b": x.int()}, {"a": x, "b": x.flatten()}, {"a": x, "b": x + 1}]
    assert len({base, *map(tensors_fingerprint, changed)}) == 6


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.bool, torch.int64])
def test_tensors_of_every_dtype_and_of_no_elements_have_one(dtype: torch.dtype) -> None:
    ones = tensors_fingerprint({"t": torch.ones(3, dtype=dtype), "none": torch.empty(0, 2, dtype=dtype)})
    assert ones != tensors_fingerprint({"t": torch.zeros(3, dtype=dtype), "none": torch.empty(0, 2, dtype=dtype)})


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("edited_module", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["edited_module"] = module
    spec.loader.exec_module(module)
    return module


def test_an_edited_source_file_has_another_fingerprint(tmp_path: Path) -> None:
    path = tmp_path / "edited_module.py"
    path.write_text("def net(): return 1\n")
    before = source_fingerprint(load(path).net)
    assert source_fingerprint(functools.partial(load(path).net, 3)) == before
    path.write_text("def net(): return 2\n")
    os.utime(path, (1, 1))  # another time stamp, however coarse the file system's are
    assert source_fingerprint(load(path).net) != before
    del sys.modules["edited_module"]


def test_objects_without_source_count_by_name() -> None:
    assert source_fingerprint(len) == source_fingerprint(len) != source_fingerprint(abs)
