"""Models from the store: trained once, under a key of all that determines them, and resumed after SIGKILL."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import types
from collections.abc import Callable, Mapping
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pytest_robust.catalogue import Registries
from pytest_robust.data.split import Split
from pytest_robust.errors import CacheError, ModelError
from pytest_robust.models import checkpoint as checkpoint_module
from pytest_robust.models.convnets import mlp
from pytest_robust.models.recipe import Recipe
from pytest_robust.models.soft_labels import SoftLabels
from pytest_robust.models.trained import KIND, classifier_from, load_or_train, recipe_key
from pytest_robust.models.training import train
from pytest_robust.store.artifacts import ArtifactStore, DamagedArtifactWarning

CPU = torch.device("cpu")
PATIENCE = 120  # seconds until a process that says nothing counts as stuck

# One server imports torch once; every process of these tests is forked from it.
processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(["pytest_robust.models.trained"])


def split(seed: int = 0, num_classes: int = 3) -> Split:
    generator = torch.Generator().manual_seed(seed)
    return Split(torch.rand(40, 1, 8, 8, generator=generator), torch.arange(40) % num_classes, num_classes, "random")


RECIPE = Recipe(
    "cuda_convnet_digits",
    (split(),),
    split(1),
    optimizer="adam",
    schedule="cosine",
    epochs=6,
    patience=6,
    batch_size=8,
    augmentation="flip_crop",
    normalization="mean_std",
    name="mine",
)


def registry(**more: Callable[..., Any]) -> Any:
    architectures = Registries().architectures
    for name, factory in more.items():
        architectures.register(name, factory)
    return architectures


def key(recipe: Recipe, device: str = "cpu", **more: Callable[..., Any]) -> str:
    return recipe_key(recipe, registry(**more), torch.device(device))


def weights(classifier: nn.Module) -> dict[str, Tensor]:
    return dict(classifier.state_dict())


def second_kernel(classifier: Any) -> Tensor:
    """The first one has a single channel, and then the memory formats are the same."""
    return [module for module in classifier.network if isinstance(module, nn.Conv2d)][1].weight


def equal(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


# the key

CHANGES: dict[str, Any] = {
    "architecture": "small_cnn",
    "data": (split(2),),
    "validation": split(3),
    "optimizer": "sgd",
    "learning_rate": 0.02,
    "momentum": 0.8,
    "weight_decay": 0.0,
    "schedule": "constant",
    "epochs": 7,
    "patience": 5,
    "batch_size": 9,
    "augmentation": "none",
    "normalization": "mean",
    "precision": "bfloat16",
    "channels_last": False,
    "seed": 1,
    "loss": SoftLabels(2.0),
    "companion": torch.zeros(sum(map(len, RECIPE.data)), 3),
}


def test_every_field_of_a_recipe_changes_its_key_but_not_the_name() -> None:
    assert set(CHANGES) == set(Recipe.__dataclass_fields__) - {"name"}
    keys = [key(replace(RECIPE, **{field: value})) for field, value in CHANGES.items()]
    assert len({key(RECIPE), *keys}) == len(CHANGES) + 1
    assert key(replace(RECIPE, name="another")) == key(RECIPE)


def test_more_data_and_another_device_change_it() -> None:
    twice = replace(RECIPE, data=RECIPE.data * 2)
    assert len({key(RECIPE), key(twice), key(RECIPE, "cuda")}) == 3
    assert key(RECIPE, "cuda:0") == key(RECIPE, "cuda:1")


def test_the_structure_that_a_factory_gives_changes_it() -> None:
    recipe = replace(RECIPE, architecture="net")
    factories = [
        lambda n, s, p=p: nn.Sequential(nn.Dropout(p), mlp(n, s))  # the same source and the same weights
        for p in (0.1, 0.2)
    ]
    assert key(recipe, net=factories[0]) != key(recipe, net=factories[1])


def test_an_edited_network_changes_it_wherever_its_code_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The factory is the same; the class it uses, in another file, was edited."""
    recipe, keys = replace(RECIPE, architecture="net"), []
    for factor in (1, 2):
        path = tmp_path / f"layers_{factor}.py"
        path.write_text(
            f"import torch.nn as nn\nclass Flat(nn.Module):\n    def forward(self, x): return x.flatten(1) * {factor}\n"
        )
        layers = types.ModuleType("layers_of_a_user")
        layers.__file__ = str(path)
        exec(compile(path.read_text(), path, "exec"), layers.__dict__)
        monkeypatch.setitem(sys.modules, "layers_of_a_user", layers)
        keys.append(
            key(recipe, net=lambda n, _: nn.Sequential(sys.modules["layers_of_a_user"].Flat(), nn.Linear(64, n)))
        )
    assert keys[0] != keys[1]


def test_making_a_key_draws_no_random_number() -> None:
    before = torch.get_rng_state()
    key(RECIPE)
    assert torch.equal(torch.get_rng_state(), before)


# training once


def test_it_is_trained_once_and_then_loaded(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    first, trained = load_or_train(RECIPE, store, CPU, registry())
    before = torch.get_rng_state()
    second, trained_again = load_or_train(RECIPE, store, CPU, registry())
    assert (trained, trained_again) == (True, False)
    assert equal(weights(first), weights(second))
    assert equal(weights(first), weights(train(RECIPE, CPU, registry())))
    assert torch.equal(torch.get_rng_state(), before)
    for classifier in (first, second):
        assert classifier.name == "mine"
        assert not any(p.requires_grad for p in classifier.parameters())
        assert not any(m.training for m in classifier.modules())
        assert second_kernel(classifier).is_contiguous(memory_format=torch.channels_last)
    x = split().x
    assert torch.equal(first(x), second(x))
    assert first.fingerprint == second.fingerprint


def test_the_metadata_says_how_it_went(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    load_or_train(RECIPE, store, CPU, registry())
    artifact = store.read(KIND, key(RECIPE))
    assert artifact is not None
    about = artifact.metadata
    assert about["title"] == "mine"
    assert about["epoch"] == 6
    assert about["recipe"] == RECIPE.settings
    assert 0 <= about["best_accuracy"] <= 1
    assert about["train_loss"] > 0
    assert 0 <= about["train_accuracy"] <= 1
    assert about["seconds"] > 0


def test_a_failed_training_leaves_nothing(tmp_path: Path) -> None:
    recipe = replace(RECIPE, architecture="broken")
    with pytest.raises(ModelError, match="'broken'"):
        load_or_train(recipe, ArtifactStore(tmp_path / "cache"), CPU, registry(broken=lambda *_: 1 / 0))
    assert not (tmp_path / "cache").exists()


def test_a_folder_that_cannot_be_used_is_known_before_training(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    class Impatient:
        def begin(self, *_: object) -> None:
            raise AssertionError("it trains although it cannot keep the weights")

    with pytest.raises(CacheError):
        load_or_train(RECIPE, ArtifactStore(tmp_path / "file" / "cache"), CPU, registry(), Impatient())


def test_damaged_weights_are_trained_again(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    first, _ = load_or_train(RECIPE, store, CPU, registry())
    (file,) = tmp_path.glob("model/*/*.safetensors")
    content = file.read_bytes()
    file.write_bytes(content[:-1])
    with pytest.warns(DamagedArtifactWarning):
        again, trained = load_or_train(RECIPE, store, CPU, registry())
    assert trained
    assert equal(weights(first), weights(again))
    assert file.read_bytes()[-100:] == content[-100:]


def test_weights_of_another_network_are_refused() -> None:
    tensors = weights(train(replace(RECIPE, epochs=0), CPU, registry()))
    for wrong in ({}, {**tensors, "more": torch.ones(1)}, {**tensors, "network.0.weight": torch.ones(1)}):
        with pytest.raises(ModelError, match="do not belong to the architecture 'cuda_convnet_digits'"):
            classifier_from(RECIPE, wrong, registry(), CPU)


# several processes, and SIGKILL


class Reporting:
    """Progress that reports to another process, and stands still after the epoch `stop`."""

    def __init__(self, pipe: Connection, stop: int | None) -> None:
        self.pipe, self.stop, self.steps = pipe, stop, 0

    def begin(self, _title: str, _total: int, done: int = 0) -> None:
        self.pipe.send(("begin", done))

    def step(self, _figures: Mapping[str, float]) -> None:
        self.steps += 1
        if self.steps == self.stop:
            self.pipe.send(("stopped", self.steps))
            signal.pause()

    def end(self) -> None:
        pass


def train_elsewhere(pipe: Connection, root: Path, stop: int | None) -> None:
    torch.set_num_threads(1)
    checkpoint_module.CHECKPOINT_SECONDS = 0.0
    classifier, trained = load_or_train(RECIPE, ArtifactStore(root), CPU, registry(), Reporting(pipe, stop))
    pipe.send(("done", trained, classifier.fingerprint))


def start(root: Path, stop: int | None) -> tuple[Any, Connection]:
    here, there = processes.Pipe()
    process = processes.Process(target=train_elsewhere, args=(there, root, stop), daemon=True)
    process.start()
    there.close()
    return process, here


def hear(pipe: Connection) -> Any:
    assert pipe.poll(PATIENCE), "the other process says nothing"
    return pipe.recv()


def test_a_killed_training_is_resumed_with_the_same_bits(tmp_path: Path) -> None:
    process, pipe = start(tmp_path, stop=3)
    assert hear(pipe) == ("begin", 0)
    assert hear(pipe) == ("stopped", 3)
    os.kill(process.pid, signal.SIGKILL)
    process.join(PATIENCE)
    assert process.exitcode == -signal.SIGKILL
    store = ArtifactStore(tmp_path)
    assert store.checkpoint(KIND, key(RECIPE)).exists()

    here, there = multiprocessing.Pipe()
    resumed, trained = load_or_train(RECIPE, store, CPU, registry(), Reporting(there, None))
    assert trained
    assert hear(here) == ("begin", 3)
    assert equal(weights(resumed), weights(train(RECIPE, CPU, registry())))
    assert not store.checkpoint(KIND, key(RECIPE)).exists()


def test_two_processes_that_need_the_same_model_train_it_once(tmp_path: Path) -> None:
    pipes = [start(tmp_path, None)[1] for _ in range(2)]
    heard = []
    for pipe in pipes:
        said = hear(pipe)
        heard.append(said)
        if said[0] == "begin":
            heard.append(hear(pipe))
    assert sorted(said[0] for said in heard) == ["begin", "done", "done"]
    done = [said for said in heard if said[0] == "done"]
    assert sorted(trained for _, trained, _ in done) == [False, True]
    assert done[0][2] == done[1][2]
