"""Weights from files: every key where it belongs, pickles refused with a way out that works."""

from __future__ import annotations

import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from pytest_robust.errors import ModelError
from pytest_robust.models.weights import load_weights, read_weights


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))


def saved(path: Path, state: dict[str, torch.Tensor]) -> Path:
    save_file(state, path)
    return path


def test_weights_come_back_in_the_networks_own_dtype(tmp_path):
    source = network()
    half = {key: value.half() if value.is_floating_point() else value for key, value in source.state_dict().items()}
    filled = load_weights(network(), saved(tmp_path / "w.safetensors", half))
    for key, value in filled.state_dict().items():
        assert value.dtype == source.state_dict()[key].dtype
        assert torch.equal(value, half[key].to(value.dtype))


def test_keys_that_do_not_fit_are_named_and_nothing_is_loaded(tmp_path):
    state = network().state_dict()
    state["0.weight"] = torch.zeros(3, 5)
    state["head.bias"] = state.pop("1.bias")
    untouched = network()
    before = {key: value.clone() for key, value in untouched.state_dict().items()}
    with pytest.raises(ModelError) as raised:
        load_weights(untouched, saved(tmp_path / "w.safetensors", state))
    told = str(raised.value)
    assert "do not fit Sequential, keys: " in told
    assert "1 missing (1.bias); 1 unexpected (head.bias)" in told
    assert "1 of another shape (0.weight (3, 5) instead of (3, 4))" in told
    assert all(torch.equal(value, before[key]) for key, value in untouched.state_dict().items())


def test_of_many_keys_the_first_are_named(tmp_path):
    with pytest.raises(ModelError, match=r"7 missing \(0\.bias, 0\.weight, 1\.bias and 4 more\)"):
        load_weights(network(), saved(tmp_path / "w.safetensors", {}))


def test_keys_of_training_only_heads_may_be_there(tmp_path):
    state = {**network().state_dict(), "aux1.weight": torch.zeros(2)}
    path = saved(tmp_path / "w.safetensors", state)
    with pytest.raises(ModelError, match=r"1 unexpected \(aux1\.weight\)"):
        load_weights(network(), path)
    load_weights(network(), path, ignoring=("aux1.",))


@pytest.mark.parametrize("how", ["zip", "legacy", "pickle"])
def test_a_pickle_is_refused_before_it_is_read_and_the_given_way_out_works(tmp_path, how):
    state, path = network().state_dict(), tmp_path / "w.pth"
    if how == "pickle":
        path.write_bytes(pickle.dumps(Bomb(tmp_path / "ran")))
    else:
        torch.save(state, path, _use_new_zipfile_serialization=how == "zip")
    with pytest.raises(ModelError, match="are a pickle, which can run any program when it is read") as raised:
        load_weights(network(), path)
    assert not (tmp_path / "ran").exists()
    if how != "pickle":
        code = re.search(r'python -c "(.*)"\.$', str(raised.value))
        assert code is not None
        subprocess.run([sys.executable, "-c", code[1]], cwd=tmp_path, check=True, capture_output=True)
        filled = load_weights(network(), tmp_path / "w.safetensors").state_dict()
        assert all(torch.equal(value, state[key]) for key, value in filled.items())


class Bomb:
    """Pickled, it makes a folder when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.path),)


def test_safetensors_whose_length_begins_like_a_pickle_are_no_pickle(tmp_path):
    for rows in range(200):
        path = saved(tmp_path / f"{rows}.safetensors", {"w" * (1 + rows): torch.zeros(1)})
        if path.read_bytes()[:1] == b"\x80":
            break
    else:
        pytest.fail("no header of that length was tried")
    assert len(read_weights(path)) == 1


def test_a_file_that_is_not_there_or_not_whole_is_said(tmp_path):
    with pytest.raises(ModelError, match=r"gone\.safetensors cannot be read: No such file"):
        read_weights(tmp_path / "gone.safetensors")
    path = saved(tmp_path / "w.safetensors", network().state_dict())
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(ModelError, match="are no whole safetensors file"):
        read_weights(path)
    (tmp_path / "empty.safetensors").touch()
    with pytest.raises(ModelError, match="are no whole safetensors file"):
        read_weights(tmp_path / "empty.safetensors")
