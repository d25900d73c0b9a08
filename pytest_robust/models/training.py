"""From a Recipe to a trained Classifier: deterministic, resumable, without a data loader.

The whole data set lies on the device, and a batch is an index into it. All randomness of an epoch comes from the
recipe's seed and the number of the epoch, so that a resumed training goes on with the same bits.
"""

from __future__ import annotations

import hashlib
import math
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pytest_robust.errors import DataError, ModelError
from pytest_robust.models import augmentation
from pytest_robust.models.checkpoint import Checkpoint, TrainingState
from pytest_robust.models.classifier import Classifier
from pytest_robust.models.losses import Batch
from pytest_robust.models.network import build_network, classifier_of, own_random_state, reseed
from pytest_robust.models.precision import best_precision as best_precision
from pytest_robust.models.progress import Progress, SilentProgress
from pytest_robust.models.recipe import Recipe
from pytest_robust.models.recipe_key import recipe_key
from pytest_robust.models.threads import suitable_threads
from pytest_robust.registry import Registry


def train(
    recipe: Recipe,
    device: torch.device,
    architectures: Registry[Any],
    *,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
) -> Classifier:
    """The classifier that `recipe` describes, on `device`, in eval mode and frozen (its weights want no gradient).

    The same recipe gives the same bits on the same machine, also when it resumes from `checkpoint`. torch's random
    state is afterwards what it was before.

    Args:
        recipe: what to train, on what, and how.
        device: where.
        architectures: registered networks.
        checkpoint: file in which it keeps its state after each epoch, and from which it resumes; the caller removes
            it when the weights are safe.
        progress: told about every epoch.

    Raises:
        UnknownNameError: no such architecture.
        ModelError: the network does not fit, or its loss stops being a number.
        DataError: there are no images.
        CacheError: the checkpoint cannot be written.
    """
    return train_with_state(recipe, device, architectures, checkpoint=checkpoint, progress=progress)[0]


def train_with_state(
    recipe: Recipe,
    device: torch.device,
    architectures: Registry[Any],
    *,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
) -> tuple[Classifier, TrainingState]:
    """Like `train`, with how it went: epochs, loss, accuracies, seconds."""
    saved = Checkpoint(checkpoint, recipe_key(recipe, architectures, device)) if checkpoint else None
    with (
        suitable_threads(recipe.input_shape, device),
        own_random_state(device, recipe.seed),
        _deterministic(device),
    ):
        training = _Training(recipe, device, architectures)
        state = saved.restore(training.classifier, training.optimizer) if saved else TrainingState()
        _run(training, state, saved, progress or SilentProgress())
    if state.best_weights:
        training.classifier.load_state_dict(state.best_weights)
    return training.classifier.eval().requires_grad_(False), state


def _run(training: _Training, state: TrainingState, saved: Checkpoint | None, progress: Progress) -> None:
    recipe = training.recipe
    progress.begin(f"training {recipe.title}", recipe.epochs, state.epoch)
    try:
        while state.epoch < recipe.epochs and not _out_of_patience(recipe, state):
            start = time.perf_counter()
            state.epoch += 1
            state.train_loss, state.train_accuracy = training.epoch(state.epoch)
            training.validate(state)
            state.seconds += time.perf_counter() - start
            if saved:
                saved.save(training.classifier, training.optimizer, state)
            figures = {"loss": state.train_loss, "accuracy": state.train_accuracy, "valid": state.validation_accuracy}
            progress.step({name: value for name, value in figures.items() if value is not None})
    finally:
        progress.end()


def _out_of_patience(recipe: Recipe, state: TrainingState) -> bool:
    return recipe.patience is not None and state.epoch - state.best_epoch >= recipe.patience


class _Training:
    """A network in training: its data on the device, its optimiser, and one epoch at a time."""

    def __init__(self, recipe: Recipe, device: torch.device, architectures: Registry[Any]) -> None:
        self.recipe = recipe
        self.device = device
        self.classifier = classifier_of(build_network(recipe, architectures), recipe, *_normalization(recipe), device)
        self.optimizer = _optimizer(recipe, self.classifier)
        self._x = torch.cat([split.x.to(device) for split in recipe.data])
        self._y = torch.cat([split.y.to(device) for split in recipe.data])
        if recipe.channels_last:
            # Kept as N, H, W, C: a batch is then one contiguous gather that is channels-last already.
            self._x = self._x.permute(0, 2, 3, 1).contiguous()
        self._validation = recipe.validation.to(device) if recipe.validation else None
        self._companion = None if recipe.companion is None else recipe.companion.to(device)

    def epoch(self, number: int) -> tuple[float, float]:
        """Train on every image once; mean loss and share of right answers on the way."""
        seed = _epoch_seed(self.recipe.seed, number)
        reseed(self.device, seed)
        generator = torch.Generator().manual_seed(seed ^ 1)  # dropout draws from the global generator
        order = torch.randperm(len(self._y), generator=generator).to(self.device)
        change = tuple(t.to(self.device) for t in augmentation.draw(len(order), generator))
        batches = _batches(order, self.recipe.batch_size)
        loss, right = torch.zeros((), device=self.device), torch.zeros((), device=self.device)
        self.classifier.train()
        for position, index in enumerate(batches):
            self._set_learning_rate((number - 1 + position / len(batches)) / self.recipe.epochs)
            batch_loss, batch_right = self._step(self._images(index, *change), index)
            loss += batch_loss
            right += batch_right
        self.classifier.eval()
        self._check_finite(float(loss), number)
        return float(loss) / len(order), float(right) / len(order)

    def validate(self, state: TrainingState) -> None:
        """Note the validation accuracy in `state`, and the weights if it is the best so far."""
        if self._validation is None:
            return
        right = self.classifier.predict(self._validation.x) == self._validation.y
        state.validation_accuracy = float(right.double().mean())
        if state.best_accuracy is None or state.validation_accuracy > state.best_accuracy:
            state.best_epoch, state.best_accuracy = state.epoch, state.validation_accuracy
            state.best_weights = {k: v.clone() for k, v in self.classifier.state_dict().items()}

    def _images(self, index: Tensor, flip: Tensor, shift: Tensor) -> Tensor:
        x = self._x[index]
        x = x.permute(0, 3, 1, 2) if self.recipe.channels_last else x
        return augmentation.flip_crop(x, flip[index], shift[index]) if self.recipe.augmentation == "flip_crop" else x

    def _step(self, x: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
        """One step of the optimiser; the summed loss and the number of right answers, still on the device."""
        companion = None if self._companion is None else self._companion[index]
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.recipe.precision == "bfloat16"):
            loss, right = self.recipe.loss(self.classifier, Batch(x, self._y[index], companion))
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        self.optimizer.step()
        return loss.detach() * len(index), right

    def _set_learning_rate(self, done: float) -> None:
        factor = (1 + math.cos(math.pi * done)) / 2 if self.recipe.schedule == "cosine" else 1.0
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.learning_rate * factor

    def _check_finite(self, loss: float, number: int) -> None:
        if math.isfinite(loss) and all(bool(p.isfinite().all()) for p in self.classifier.parameters()):
            return
        raise ModelError(
            f"the training of {self.recipe.title} diverged in epoch {number} of {self.recipe.epochs}: the loss or a "
            f"weight is NaN or infinite; use a learning rate lower than {self.recipe.learning_rate:g}."
        )


def _optimizer(recipe: Recipe, classifier: nn.Module) -> torch.optim.Optimizer:
    parameters = [p for p in classifier.parameters() if p.requires_grad]
    if not parameters:
        raise ModelError(f"the architecture {recipe.architecture!r} has no weights that could be trained.")
    # Fused: one kernel over all weights instead of several for each.
    if recipe.optimizer == "adam":
        return torch.optim.Adam(parameters, recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True)
    return torch.optim.SGD(
        parameters, recipe.learning_rate, recipe.momentum, weight_decay=recipe.weight_decay, fused=True
    )


def _normalization(recipe: Recipe) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation that the network's images are normalised with, from the first split."""
    for split in (recipe.data[0], recipe.validation):
        if split is not None and len(split) == 0:
            raise DataError(f"the recipe for {recipe.title!r} uses {split.name}, which has no images.")
    x = recipe.data[0].x
    if recipe.normalization == "mean":
        return x.mean(0).cpu(), torch.tensor(1.0)
    if recipe.normalization == "mean_std":
        variance, mean = torch.var_mean(x, (0, 2, 3), correction=0, keepdim=True)
        std = variance.sqrt()
        return mean[0].cpu(), torch.where(std > 0, std, 1.0)[0].cpu()
    return torch.tensor(0.0), torch.tensor(1.0)


def _batches(order: Tensor, size: int) -> list[Tensor]:
    """`order` in batches; a single left-over image joins the batch before it, as batch norm cannot train on one."""
    batches = list(torch.split(order, size))
    if len(batches) > 1 and len(batches[-1]) == 1:
        batches[-2:] = [torch.cat(batches[-2:])]
    return batches


def _epoch_seed(seed: int, epoch: int) -> int:
    """A seed of its own for each epoch of each recipe: neighbouring ones share nothing."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{epoch}".encode()).digest()[:7], "little")


@contextmanager
def _deterministic(device: torch.device) -> Iterator[None]:
    """On CUDA, kernels that give the same bits every time; elsewhere they do already."""
    if device.type != "cuda":
        yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is deterministic only with a fixed workspace
    cudnn, memory = torch.backends.cudnn, torch.utils.deterministic
    before = (torch.get_deterministic_debug_mode(), cudnn.deterministic, cudnn.benchmark)
    fill = memory.fill_uninitialized_memory  # type: ignore[attr-defined]  # a property of the module
    memory.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # it is for debugging, and slow
    torch.use_deterministic_algorithms(True, warn_only=True)
    cudnn.deterministic, cudnn.benchmark = True, False
    try:
        yield
    finally:
        torch.set_deterministic_debug_mode(before[0])
        cudnn.deterministic, cudnn.benchmark = before[1:]
        memory.fill_uninitialized_memory = fill  # type: ignore[attr-defined]
