"""Training: it learns, it is what the textbook says, it gives the same bits again, it says when it cannot work."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_digits, make_moons
from torch import Tensor, nn

from pytest_robust.catalogue import Registries
from pytest_robust.data.split import Split
from pytest_robust.errors import DataError, ModelError, UnknownNameError
from pytest_robust.models import checkpoint as checkpoint_module
from pytest_robust.models import training
from pytest_robust.models.checkpoint import DamagedCheckpointWarning
from pytest_robust.models.convnets import mlp
from pytest_robust.models.recipe import Recipe
from pytest_robust.models.training import best_precision, train, train_with_state

CPU = torch.device("cpu")


@cache
def digits() -> tuple[Split, Split]:
    data = load_digits()
    x = torch.tensor(data.images / 16, dtype=torch.float32)[:, None]
    whole = Split(x, torch.tensor(data.target), 10, "digits").sample(len(x), seed=0)
    return whole.subset(range(1300), "train"), whole.subset(range(1300, 1797), "valid")


def few(n: int = 50, num_classes: int = 10) -> Split:
    chosen = digits()[0].subset(range(n))
    return replace(chosen, y=chosen.y % num_classes, num_classes=num_classes)


def architectures(**more: Callable[..., Any]) -> Any:
    registry = Registries().architectures
    for name, factory in more.items():
        registry.register(name, factory)
    return registry


def weights(classifier: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in classifier.state_dict().items()}


def equal(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def linear(num_classes: int, shape: tuple[int, int, int]) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), num_classes))


def with_batch_norm(num_classes: int, shape: tuple[int, int, int]) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.BatchNorm1d(math.prod(shape)), nn.Linear(math.prod(shape), num_classes))


# it learns


@pytest.mark.parametrize(("name", "rate"), [("cuda_convnet_digits", 0.05), ("mlp", 0.05)])
def test_digits_are_learnt(name: str, rate: float) -> None:
    data, test = digits()
    recipe = Recipe(name, (data,), epochs=15, learning_rate=rate, schedule="cosine", normalization="mean_std")
    classifier, state = train_with_state(recipe, CPU, architectures())
    assert float((classifier.predict(test.x) == test.y).float().mean()) > 0.95
    assert state.train_accuracy is not None
    assert state.train_accuracy > 0.9
    assert state.epoch == 15


def test_two_moons_are_learnt_with_adam() -> None:
    points, labels = make_moons(400, noise=0.1, random_state=0)
    points = (points - points.min(0)) / (points.max(0) - points.min(0))
    moons = Split(torch.tensor(points, dtype=torch.float32).reshape(-1, 1, 1, 2), torch.tensor(labels), 2, "moons")
    classifier = train(Recipe("mlp", (moons,), optimizer="adam", epochs=40), CPU, architectures())
    assert float((classifier.predict(moons.x) == moons.y).float().mean()) > 0.97


def textbook(recipe: Recipe, data: Split, start: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Gradient descent with momentum on all images at once, written down step by step."""
    w, b = start["network.1.weight"].double(), start["network.1.bias"].double()
    velocity = [torch.zeros_like(w), torch.zeros_like(b)]
    for epoch in range(recipe.epochs):
        w, b = w.detach().requires_grad_(), b.detach().requires_grad_()
        loss = F.cross_entropy(data.x.double().flatten(1) @ w.T + b, data.y)
        gradients = torch.autograd.grad(loss, (w, b))
        cosine = (1 + math.cos(math.pi * epoch / recipe.epochs)) / 2
        rate = recipe.learning_rate * (cosine if recipe.schedule == "cosine" else 1)
        for i, (p, g) in enumerate(zip((w, b), gradients, strict=True)):
            velocity[i] = recipe.momentum * velocity[i] + g + recipe.weight_decay * p.detach()
        w, b = w.detach() - rate * velocity[0], b.detach() - rate * velocity[1]
    return w, b


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_full_batches_are_textbook_gradient_descent(schedule: Any) -> None:
    data, registry = few(60), architectures(linear=linear)
    recipe = Recipe("linear", (data,), epochs=8, batch_size=60, learning_rate=0.3, weight_decay=0.01, schedule=schedule)
    start = weights(train(replace(recipe, epochs=0), CPU, registry))
    w, b = textbook(recipe, data, start)
    after = weights(train(recipe, CPU, registry))
    assert torch.allclose(after["network.1.weight"].double(), w, atol=1e-5)
    assert torch.allclose(after["network.1.bias"].double(), b, atol=1e-5)
    assert not torch.allclose(start["network.1.weight"], after["network.1.weight"], atol=1e-2)


def test_it_trains_on_all_splits() -> None:
    a, b = few(40), digits()[0].subset(range(40, 80))
    both = Split(torch.cat([a.x, b.x]), torch.cat([a.y, b.y]), 10)
    recipe = Recipe("mlp", (a, b), epochs=2)
    assert equal(
        weights(train(recipe, CPU, architectures())),
        weights(train(replace(recipe, data=(both,)), CPU, architectures())),
    )


@pytest.mark.parametrize("channels_last", [True, False])
def test_the_memory_format_is_the_recipes_and_changes_little(channels_last: bool) -> None:
    recipe = Recipe("cuda_convnet_digits", (few(),), epochs=1, channels_last=channels_last)
    classifier = train(recipe, CPU, architectures())
    kernel = next(m for m in list(classifier.network)[1:] if isinstance(m, nn.Conv2d)).weight
    assert kernel.is_contiguous(memory_format=torch.channels_last) == channels_last
    other = train(replace(recipe, channels_last=not channels_last), CPU, architectures())
    for name, value in weights(other).items():
        assert torch.allclose(weights(classifier)[name], value, atol=1e-4)


# the same bits


FULL = {
    "epochs": 6,
    "learning_rate": 0.02,
    "schedule": "cosine",
    "augmentation": "flip_crop",
    "normalization": "mean",
    "batch_size": 16,
}


def test_the_same_seed_gives_the_same_bits_and_another_seed_does_not() -> None:
    recipe = Recipe("cuda_convnet_digits", (few(),), **FULL)
    torch.manual_seed(1)
    first = weights(train(recipe, CPU, architectures()))
    torch.manual_seed(2)
    assert equal(weights(train(recipe, CPU, architectures())), first)
    assert not equal(weights(train(recipe.with_seed(1), CPU, architectures())), first)


@pytest.mark.parametrize("change", [{"augmentation": "none"}, {"batch_size": 17}, {"optimizer": "adam"}])
def test_settings_matter(change: dict[str, Any]) -> None:
    recipe = Recipe("cuda_convnet_digits", (few(),), **FULL)
    changed = train(replace(recipe, **change), CPU, architectures())
    assert not equal(weights(changed), weights(train(recipe, CPU, architectures())))


def test_torchs_random_state_is_left_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    train(Recipe("cuda_convnet_digits", (few(),), **FULL), CPU, architectures())
    assert torch.equal(torch.rand(3), expected)


class Recorder:
    """Progress that remembers, and presses Ctrl-C after the step `stop`."""

    def __init__(self, stop: int | None = None) -> None:
        self.stop = stop
        self.begun: list[tuple[str, int, int]] = []
        self.steps: list[Mapping[str, float]] = []
        self.ended = 0

    def begin(self, title: str, total: int, done: int = 0) -> None:
        self.begun.append((title, total, done))

    def step(self, figures: Mapping[str, float]) -> None:
        self.steps.append(figures)
        if len(self.steps) == self.stop:
            raise KeyboardInterrupt

    def end(self) -> None:
        self.ended += 1


@pytest.fixture
def every_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint_module, "CHECKPOINT_SECONDS", 0.0)


@pytest.mark.usefixtures("every_epoch")
@pytest.mark.parametrize("stops", [(1,), (4,), (2, 3)])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_resumed_training_gives_the_bits_of_an_uninterrupted_one(
    tmp_path: Path, optimizer: Any, stops: tuple[int, ...]
) -> None:
    recipe = Recipe("cuda_convnet_digits", (few(),), few(30), **FULL, optimizer=optimizer, patience=5)
    path = tmp_path / "checkpoint"
    for stop in stops:
        with pytest.raises(KeyboardInterrupt):
            train(recipe, CPU, architectures(), checkpoint=path, progress=Recorder(stop))
    recorder = Recorder()
    resumed, state = train_with_state(recipe, CPU, architectures(), checkpoint=path, progress=recorder)
    assert recorder.begun == [("training cuda_convnet_digits", 6, sum(stops))]
    uninterrupted, expected = train_with_state(recipe, CPU, architectures())
    assert equal(weights(resumed), weights(uninterrupted))
    assert {**state.figures(), "seconds": 0} == {**expected.figures(), "seconds": 0}


@pytest.mark.usefixtures("every_epoch")
def test_a_network_with_buffers_resumes_too(tmp_path: Path) -> None:
    recipe = Recipe("norm", (few(),), epochs=3)
    registry = architectures(norm=with_batch_norm)
    with pytest.raises(KeyboardInterrupt):
        train(recipe, CPU, registry, checkpoint=tmp_path / "c", progress=Recorder(1))
    assert equal(
        weights(train(recipe, CPU, registry, checkpoint=tmp_path / "c")), weights(train(recipe, CPU, registry))
    )


def test_a_short_training_writes_no_checkpoint(tmp_path: Path) -> None:
    train(Recipe("mlp", (few(),), epochs=2), CPU, architectures(), checkpoint=tmp_path / "c")
    assert not (tmp_path / "c").exists()


def interrupted(path: Path, recipe: Recipe) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(recipe, CPU, architectures(), checkpoint=path, progress=Recorder(1))


@pytest.mark.usefixtures("every_epoch")
@pytest.mark.parametrize("how", ["cut off", "flipped", "another training's", "no checkpoint at all"])
def test_a_checkpoint_that_cannot_be_trusted_is_not_resumed(tmp_path: Path, how: str) -> None:
    path, recipe = tmp_path / "c", Recipe("mlp", (few(),), epochs=2)
    interrupted(path, recipe if how != "another training's" else recipe.with_seed(3))
    content = bytearray(path.read_bytes())
    if how == "flipped":
        content[len(content) // 2] ^= 1
    path.write_bytes({"cut off": content[:-9], "no checkpoint at all": b"hello"}.get(how, content))
    recorder = Recorder()
    with pytest.warns(DamagedCheckpointWarning, match="ignored and training starts anew"):
        classifier = train(recipe, CPU, architectures(), checkpoint=path, progress=recorder)
    assert recorder.begun[0][2] == 0
    assert equal(weights(classifier), weights(train(recipe, CPU, architectures())))


# the best epoch


def test_patience_keeps_the_best_epoch() -> None:
    data, valid = digits()[0].subset(range(200)), digits()[1]
    recipe = Recipe("mlp", (data,), valid, epochs=60, learning_rate=0.3, patience=3)
    classifier, state = train_with_state(recipe, CPU, architectures())
    assert state.best_epoch < state.epoch == state.best_epoch + 3 < 60
    assert float((classifier.predict(valid.x) == valid.y).double().mean()) == state.best_accuracy
    until_best = replace(recipe, validation=None, patience=None, epochs=state.best_epoch)
    assert equal(weights(classifier), weights(train(until_best, CPU, architectures())))


def test_without_validation_the_last_epoch_is_kept() -> None:
    state = train_with_state(Recipe("mlp", (few(),), epochs=2), CPU, architectures())[1]
    assert state.validation_accuracy is None
    assert state.best_epoch == 0
    assert state.epoch == 2


class AlwaysDustbin(nn.Module):
    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(num_classes))

    def forward(self, x: Tensor) -> Tensor:
        bump = torch.zeros(len(self.bias))
        bump[-1] = 1e3
        return (self.bias + bump).expand(len(x), -1)


def test_an_image_that_the_dustbin_takes_is_not_correct() -> None:
    data = replace(few(), num_classes=11)
    recipe = Recipe("bin", (data,), few(), epochs=1)
    state = train_with_state(recipe, CPU, architectures(bin=lambda n, _: AlwaysDustbin(n)))[1]
    assert state.validation_accuracy == 0.0


# how it leaves the classifier


def test_the_classifier_is_frozen_and_in_eval_mode() -> None:
    for epochs in (0, 1):
        classifier = train(Recipe("cuda_convnet_digits", (few(),), epochs=epochs), CPU, architectures())
        assert not any(p.requires_grad for p in classifier.parameters())
        assert not any(m.training for m in classifier.modules())


def test_normalisation_is_measured_on_the_first_split() -> None:
    data, other = few(60), digits()[0].subset(range(100, 160))
    none, mean, both = (
        train(Recipe("mlp", (data, other), epochs=0, normalization=how), CPU, architectures())
        for how in ("none", "mean", "mean_std")
    )
    assert (float(none.mean), float(none.std)) == (0.0, 1.0)
    assert torch.allclose(mean.mean, data.x.mean(0))
    assert float(mean.std) == 1.0
    normalised = (data.x - both.mean) / both.std
    assert both.mean.shape == both.std.shape == (1, 1, 1)
    assert torch.allclose(normalised.mean(), torch.tensor(0.0), atol=1e-5)
    assert torch.allclose(normalised.std(correction=0), torch.tensor(1.0), atol=1e-5)


def test_constant_images_are_not_divided_by_zero() -> None:
    data = Split(torch.full((8, 1, 4, 4), 0.5), torch.arange(8) % 2, 2)
    classifier = train(Recipe("mlp", (data,), epochs=1, normalization="mean_std"), CPU, architectures())
    assert torch.isfinite(classifier(data.x)).all()


def test_bfloat16_trains_float32_weights() -> None:
    recipe = Recipe("mlp", (few(),), few(), epochs=3, precision="bfloat16")
    classifier, state = train_with_state(recipe, CPU, architectures())
    assert {p.dtype for p in classifier.parameters()} == {torch.float32}
    assert classifier(few().x).dtype == torch.float32
    assert state.train_loss is not None
    in_float32 = train_with_state(replace(recipe, precision="float32"), CPU, architectures())[1]
    assert state.train_loss == pytest.approx(in_float32.train_loss, rel=0.05)
    assert state.train_loss != in_float32.train_loss


def test_the_best_precision_of_a_device_is_one_that_a_recipe_takes() -> None:
    assert Recipe("mlp", (few(),), precision=best_precision(CPU)).precision in ("float32", "bfloat16")
    assert best_precision(torch.device("mps")) == "float32"


def test_progress_hears_of_every_epoch() -> None:
    recorder = Recorder()
    train(Recipe("mlp", (few(),), few(), epochs=3, name="mine"), CPU, architectures(), progress=recorder)
    assert recorder.begun == [("training mine", 3, 0)]
    assert [set(step) for step in recorder.steps] == [{"loss", "accuracy", "valid"}] * 3
    assert recorder.ended == 1


# batches


@given(n=st.integers(1, 200), size=st.integers(1, 50))
def test_batches_hold_every_image_once_and_none_is_alone(n: int, size: int) -> None:
    batches = training._batches(torch.randperm(n), size)
    assert sorted(torch.cat(batches).tolist()) == list(range(n))
    assert max(map(len, batches)) <= size + 1
    assert min(map(len, batches)) > 1 or size == 1 or n == 1


def test_a_left_over_image_does_not_break_batch_norm() -> None:
    recipe = Recipe("norm", (few(33),), epochs=1, batch_size=16)
    assert train(recipe, CPU, architectures(norm=with_batch_norm)).predict(few(33).x).shape == (33,)


@given(st.integers(), st.integers(), st.integers(0, 1000), st.integers(0, 1000))
def test_no_two_epochs_share_a_seed(seed: int, other_seed: int, epoch: int, other_epoch: int) -> None:
    same = training._epoch_seed(seed, epoch) == training._epoch_seed(other_seed, other_epoch)
    assert same == ((seed, epoch) == (other_seed, other_epoch))


# errors


class Fails(nn.Module):
    def forward(self, _: Tensor) -> Tensor:
        raise RuntimeError("inside")


@pytest.mark.parametrize(
    ("factory", "reason"),
    [
        (lambda *_: 1 / 0, "cannot be built for 10 classes .* ZeroDivisionError"),
        (lambda n: mlp(n, (1, 8, 8)), "cannot be built .* TypeError"),
        (lambda *_: "network", "must give a torch.nn.Module, but its factory gave a str"),
        (lambda n, s: mlp(n + 1, s), r"gives \(2, 11\) for two images, but \(2, 10\)"),
        (lambda *_: nn.Identity(), r"gives \(2, 1, 8, 8\)"),
        (lambda n, _: nn.Linear(7, n), "fails on images of shape"),
        (lambda *_: Fails(), r"fails on images .*RuntimeError: inside \(.*test_training.py:\d+\)"),
        (lambda *_: nn.Sequential(nn.AvgPool2d(8), nn.Flatten(), nn.Upsample(10), nn.Flatten()), "fails on images"),
    ],
)
def test_a_network_that_does_not_fit_is_named(factory: Callable[..., Any], reason: str) -> None:
    with pytest.raises(ModelError, match=rf"^the architecture 'mine' {reason}"):
        train(Recipe("mine", (few(),)), CPU, architectures(mine=factory))


class Fixed(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1)[:, :10]


def test_a_network_without_weights_cannot_be_trained() -> None:
    with pytest.raises(ModelError, match="'fixed' has no weights"):
        train(Recipe("fixed", (few(),)), CPU, architectures(fixed=lambda *_: Fixed()))


def test_an_unknown_architecture_is_an_unknown_name() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'mlp'"):
        train(Recipe("mlpp", (few(),)), CPU, architectures())


def test_a_network_that_ends_in_a_softmax_is_told_so_in_validation() -> None:
    registry = architectures(soft=lambda n, s: nn.Sequential(mlp(n, s), nn.Softmax(1)))
    with pytest.raises(ModelError, match="probabilities"):
        train(Recipe("soft", (few(),), few(), epochs=1), CPU, registry)


def test_a_diverged_training_says_when_and_what_to_do() -> None:
    recipe = Recipe("mlp", (few(),), epochs=4, batch_size=10, learning_rate=1e30, name="mine")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(ModelError, match=r"mine diverged in epoch 1 of 4: .* learning rate lower than 1e\+30"):
            train(recipe, CPU, architectures())


def test_no_images_are_a_data_error() -> None:
    nothing = few().subset([], "nothing")
    for recipe in (Recipe("mlp", (nothing,)), Recipe("mlp", (few(),), nothing)):
        with pytest.raises(DataError, match="uses nothing, which has no images"):
            train(recipe, CPU, architectures())
