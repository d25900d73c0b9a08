"""A Classifier: a module from [0, 1] images to logits, with its normalisation inside and its features at hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from pytest_robust.errors import ModelError
from pytest_robust.models.batches import answer_batch
from pytest_robust.models.structure import all_tensors, own_fingerprint, structure_fingerprint, tensors_version
from pytest_robust.models.threads import suitable_threads
from pytest_robust.store.fingerprint import fingerprint, tensors_fingerprint

# Versions of the hashed weights, the weights themselves (alive, so that no other tensor gets their address), the hash.
# Not kept on the classifier, where a copy would inherit the hash of its original.
_Hashed = tuple[tuple[tuple[int, int, int], ...], dict[str, Tensor], str]
_hashed: WeakKeyDictionary[nn.Module, _Hashed] = WeakKeyDictionary()

#: From so many images on, outputs that all lie in [0, 1] are no chance (ours): half a logit's values are negative.
TELLING = 10


class Classifier(nn.Module):
    """A network with its normalisation, from images in [0, 1] to logits.

    It is in eval mode unless it is being trained.

    Args:
        network: any module from normalised images (N, C, H, W) to logits (N, num_classes).
        num_classes: how many logits it gives.
        input_shape: channels, height, width.
        mean: subtracted from the images; a scalar, or a tensor that broadcasts to `input_shape`.
        std: the images are divided by it after that; likewise.
        name: for people and reports.
        rejects: the last output is no class but "rejected", and attacks know it: an image that ends there fools
            nobody. Without it, an attack takes every output for a class that it may push an image to.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        network: nn.Module,
        *,
        num_classes: int,
        input_shape: tuple[int, int, int],
        mean: float | Tensor = 0.0,
        std: float | Tensor = 1.0,
        name: str = "classifier",
        rejects: bool = False,
    ) -> None:
        super().__init__()
        self.network = network
        self.num_classes = num_classes
        self.input_shape = input_shape
        self.name = name
        self.rejects = rejects
        self.register_buffer("mean", torch.as_tensor(mean, dtype=torch.float32).clone())
        self.register_buffer("std", torch.as_tensor(std, dtype=torch.float32).clone())
        # Decided once: `mean == 0` at every forward pass would wait for the device.
        self._normalises = bool((self.mean != 0).any() or (self.std != 1).any())
        self.eval()

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return self.mean.device

    def forward(self, x: Tensor) -> Tensor:
        """Logits, float of shape (N, num_classes), of images `x` in [0, 1], float32 of shape (N, C, H, W)."""
        # A copy, because a network may work in place, and `x` can be a part of the test images.
        logits: Tensor = self.network((x - self.mean) / self.std if self._normalises else x.clone())
        return logits

    @property
    def attack_loss(self) -> Callable[[Tensor, Tensor, bool], tuple[Tensor, Tensor]] | None:
        """What a gradient attack climbs instead of the cross-entropy of the logits; None almost always.

        A network that has a method `attack_loss` (images in [0, 1], labels, and whether the attack is targeted, to
        logits and a value per image) says so for itself: an ensemble whose attacker sums the members' losses, not the
        loss of their mean.

        The value has the sign of the cross-entropy with the given labels: an untargeted attack, which gets the true
        labels, climbs it, and a targeted one, which gets the classes to reach, descends it. So what either attacker
        wants small, such as a detector's suspicion, is subtracted for the untargeted and added for the targeted one.
        """
        return getattr(self.network, "attack_loss", None)

    def rejecting(self) -> Classifier:
        """The same network, its last output understood as "rejected"."""
        return Classifier(
            self.network,
            num_classes=self.num_classes,
            input_shape=self.input_shape,
            mean=self.mean,
            std=self.std,
            name=f"{self.name}, reject-aware",
            rejects=True,
        ).to(self.device)

    def features(self, x: Tensor) -> Tensor:
        """Penultimate features of shape (N, F): the input of the last linear layer.

        Raises:
            ModelError: the network has no linear layer.
        """
        return self._features_and_logits(x)[0]

    def _features_and_logits(self, x: Tensor) -> tuple[Tensor, Tensor]:
        seen: list[Tensor] = []
        handle = self._head.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
        try:
            logits = self(x)
        finally:
            handle.remove()
        return seen[-1].flatten(1), logits

    @property
    def _head(self) -> nn.Module:
        linear = [m for m in self.network.modules() if isinstance(m, nn.Linear)]
        if not linear:
            raise ModelError(f"{self.name} has no linear layer, so it has no penultimate features to look at.")
        return linear[-1]

    @torch.no_grad()
    def logits_of(self, x: Tensor, batch_size: int | None = None) -> Tensor:
        """Logits of many images in batches, without gradients; float32 of shape (N, num_classes), on `x`'s device.

        Raises:
            ModelError: the network gives another shape, NaN, or probabilities instead of logits.
        """
        logits = self._batched(self, x, batch_size).float()
        check_logits(logits, len(x), self.num_classes, self.name)
        return logits

    @torch.no_grad()
    def features_of(self, x: Tensor, batch_size: int | None = None) -> Tensor:
        """Penultimate features of many images in batches, float32 of shape (N, F), on `x`'s device."""
        return self._batched(self.features, x, batch_size).float()

    def predict(self, x: Tensor, batch_size: int | None = None) -> Tensor:
        """Predicted labels, int64 of shape (N,), on `x`'s device."""
        return self.logits_of(x, batch_size).argmax(1)

    def _batched(self, function: Callable[[Tensor], Tensor], x: Tensor, batch_size: int | None) -> Tensor:
        size = answer_batch(self.input_shape, self.device) if batch_size is None else batch_size
        # No images are one empty batch, so that what comes back has the right width.
        batches = torch.split(x, size) if len(x) else (x,)
        with suitable_threads(self.input_shape, self.device):
            return torch.cat([function(batch.to(self.device)).to(x.device) for batch in batches])

    @property
    def fingerprint(self) -> str:
        """Of the weights, the buffers, the structure and the code of the network: what its answers depend on.

        Weights are hashed once and again when they have changed: a copy that was trained further is another model.
        """
        # A subclass may answer otherwise; only what it is called does not count.
        own = own_fingerprint(self, apart=frozenset({"name"}))
        return fingerprint([self._weights_fingerprint(), structure_fingerprint(self.network), own])

    def _weights_fingerprint(self) -> str:
        tensors = all_tensors(self)
        version = tensors_version(tensors)
        known = _hashed.get(self)
        if known is None or known[0] != version:
            known = _hashed[self] = version, tensors, tensors_fingerprint(tensors)
        return known[2]

    def train(self, mode: bool = True) -> Classifier:
        """Set training mode, or eval mode with ``train(False)``."""
        super().train(mode)
        return self

    def art_estimator(self) -> Any:
        """This classifier as ART's ``PyTorchClassifier`` (budget and clip values in [0, 1], no preprocessing)."""
        from pytest_robust.models.art import art_estimator

        return art_estimator(self)

    def extra_repr(self) -> str:
        """Name, input shape and classes, for `repr`."""
        return f"{self.name}, input_shape={self.input_shape}, num_classes={self.num_classes}"


def check_logits(logits: Tensor, n: int, num_classes: int, name: str) -> None:
    """Raise ModelError unless `logits` are finite, of shape (n, num_classes), and not probabilities."""
    if tuple(logits.shape) != (n, num_classes):
        raise ModelError(
            f"{name} gives outputs of shape {tuple(logits.shape)} for {n} images, but ({n}, {num_classes}) is "
            "expected: one logit per class."
        )
    if not bool(torch.isfinite(logits).all()):
        bad = int((~torch.isfinite(logits)).any(1).sum())
        raise ModelError(f"{name} gives NaN or infinite logits for {bad} of {n} images: check its weights and inputs.")
    inside = bool((logits >= 0).all() and (logits <= 1).all()) if n else False
    if inside and bool((logits.sum(1) - 1).abs().max() < 1e-4):
        raise ModelError(
            f"{name} gives probabilities (every output in [0, 1], every row sums to 1), but logits are expected: "
            "leave its softmax out, because gradients vanish behind it and attacks look weak."
        )


def look_like_probabilities(lowest: float, highest: float, n: int) -> bool:
    """Whether the outputs for `n` images, from `lowest` to `highest`, are rather a sigmoid's than logits.

    Rows that sum to 1 are a softmax's, which `check_logits` refuses; of a sigmoid's it cannot be certain.
    """
    return n >= TELLING and lowest >= 0.0 and highest <= 1.0
