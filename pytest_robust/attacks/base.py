"""The shared base of this project's own attacks: ART's ``EvasionAttack``, with images that stay tensors.

An attack implements `_attack`, for one pool of images on the model's device. The base cuts pools, checks images and
labels, freezes the model, seeds the noise, and evaluates the model in batches that suit the machine.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import numpy as np
import torch
from art.attacks.attack import EvasionAttack
from art.estimators.classification import PyTorchClassifier
from numpy.typing import NDArray
from torch import Tensor

from pytest_robust.attacks.isolation import frozen
from pytest_robust.attacks.objectives import rejection_counts_as, runner_up
from pytest_robust.data.split import check_images, check_labels
from pytest_robust.errors import AttackError

#: How many batches' worth of images an attack keeps in hand: as images finish, the others close ranks.
POOL = 8

#: From logits (n, K) and the labels (n,) that belong to them to a value per image.
Objective = Callable[[Tensor, Tensor], Tensor]
#: From images (n, C, H, W) and labels (n,) to logits (n, K) and a value per image.
Evaluate = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


class TorchAttack(EvasionAttack):  # type: ignore[misc]
    """An ``EvasionAttack`` whose images stay on the model's device.

    Args:
        estimator: ART's ``PyTorchClassifier`` of a model from [0, 1] images to logits, with no preprocessing.
        targeted: whether `y` holds the classes to reach instead of the labels to leave.
        batch_size: images per evaluation of the model.
        seed: of every random draw; the same seed gives an image the same noise in every batch.

    Raises:
        AttackError: the estimator preprocesses, or clips to something other than [0, 1]; or the attack has an objective
            of its own, and the model a loss of its own (`Classifier.attack_loss`).

    Attributes:
        own_objective: it differentiates something made of the outputs instead of `loss`; it would pass over the loss
            that a surface gives its attackers.
    """

    own_objective: ClassVar[bool] = False
    attack_params: ClassVar[list[str]] = ["targeted", "batch_size", "seed"]
    _estimator_requirements: tuple[type, ...] = (PyTorchClassifier,)

    def __init__(self, estimator: Any, *, targeted: bool = False, batch_size: int = 64, seed: int = 0) -> None:
        super().__init__(estimator=estimator)
        clip = estimator.clip_values
        if estimator.preprocessing_operations or (clip is not None and (float(clip[0]), float(clip[1])) != (0.0, 1.0)):
            raise AttackError(
                f"{type(self).__name__} attacks models that take [0, 1] images as they are: put the preprocessing into "
                "the model and set clip_values=(0, 1)."
            )
        if self.own_objective and getattr(estimator.model, "attack_loss", None) is not None:
            raise AttackError(
                f"{type(self).__name__} has an objective of its own and would pass over the loss that the surface "
                f"{getattr(estimator.model, 'name', 'attacked')!r} gives its attackers, so it would look weaker than "
                "it is: choose an attack that climbs the loss, such as fgsm, bim or pgd."
            )
        if not isinstance(batch_size, int) or batch_size < 1:
            raise AttackError(f"{type(self).__name__}: batch_size must be a whole number from 1, not {batch_size}.")
        self._targeted = targeted
        self.batch_size = batch_size
        self.seed = seed

    def generate(self, x: NDArray[Any], y: NDArray[Any] | None = None, **_: Any) -> NDArray[np.float32]:
        """Perturbed images, float32 of shape (N, C, H, W).

        Args:
            x: images in [0, 1] of shape (N, C, H, W).
            y: labels (targets, where the attack is targeted), as integers of shape (N,) or one-hot of shape (N, K).
                Without them an untargeted attack leaves the model's own predictions, as ART's do.

        Raises:
            AttackError: a targeted attack without targets.
            DataError: images that are not in [0, 1], or labels out of range.
        """
        images = torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32))
        perturbed = self.perturb(images, self._labels(images, y))
        return perturbed.numpy()

    def perturb(self, x: Tensor, y: Tensor) -> Tensor:
        """Perturbed images, float32 of shape (N, C, H, W), on `x`'s device.

        Args:
            x: images, float32 of shape (N, C, H, W), in [0, 1].
            y: labels (targets, where the attack is targeted), int64 of shape (N,).

        Raises:
            AttackError: the model's gradient is NaN (or infinite, where the attack needs its size).
            DataError: images that are not in [0, 1], or labels out of range.
        """
        name = type(self).__name__
        check_images(x, name)
        check_labels(y, len(x), self.estimator.nb_classes, name)
        self._broken = torch.zeros((), dtype=torch.bool, device=self.device)
        parts = []
        with frozen(self.model), torch.enable_grad():
            self._start()
            for images, labels in zip(x.split(self.pool_size), y.split(self.pool_size), strict=True):
                parts.append(self._attack(images.to(self.device), labels.to(self.device)).detach().to(x.device))
        if bool(self._broken):
            raise AttackError(f"{name}: the model's gradient is NaN or infinite: find what divides by zero in it.")
        return torch.cat(parts) if parts else x.clone()

    @property
    def model(self) -> torch.nn.Module:
        """The model behind the estimator."""
        model: torch.nn.Module = self.estimator.model
        return model

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        device: torch.device = self.estimator.device
        return device

    @property
    def pool_size(self) -> int:
        """How many images are attacked together."""
        return POOL * self.batch_size

    def _start(self) -> None:
        """Prepare a run over all images: where an attack sets up its noise."""

    @abstractmethod
    def _attack(self, x: Tensor, y: Tensor) -> Tensor:
        """Perturbed images of one pool, on the model's device."""

    def logits(self, x: Tensor) -> Tensor:
        """Outputs for `x`, without gradients, batch by batch."""
        with torch.no_grad():
            return torch.cat([self.model(batch) for batch in x.split(self.batch_size)])

    def answers(self, x: Tensor, y: Tensor) -> Tensor:
        """Logits of `x`, without gradients, batch by batch; a rejection counts as the label (`rejection_counts_as`)."""
        return self.understood(self.logits(x), y)

    def understood(self, logits: Tensor, y: Tensor) -> Tensor:
        """The model's outputs as this attack reads them: being rejected does not count as leaving `y`."""
        rejects = not self._targeted and getattr(self.model, "rejects", False)
        return rejection_counts_as(logits, y) if rejects else logits

    def loss(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of one batch, and a value per image that rises with the cross-entropy, both differentiable.

        A surface's own loss comes first; a targeted attack descends either (`Classifier.attack_loss`).
        """
        own = getattr(self.model, "attack_loss", None)
        if own is not None:
            logits, values = own(x, y, self._targeted)
            return self.understood(logits, y), values
        logits = self.understood(self.model(x), y)
        return logits, runner_up(logits, y)

    def loss_and_gradient(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits, the loss of each image, and its gradient with respect to `x`, batch by batch."""
        return self._in_batches(x, y, self.loss)

    def value_and_gradient(self, x: Tensor, y: Tensor, objective: Objective) -> tuple[Tensor, Tensor, Tensor]:
        """Logits, the objective and its gradient with respect to `x`, batch by batch."""

        def evaluate(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
            logits = self.understood(self.model(images), labels)
            return logits, objective(logits, labels)

        return self._in_batches(x, y, evaluate)

    def _in_batches(self, x: Tensor, y: Tensor, evaluate: Evaluate) -> tuple[Tensor, Tensor, Tensor]:
        parts = [self._one_batch(images, labels, evaluate) for images, labels in self._batches(x, y)]
        logits, values, gradients = (torch.cat(each) for each in zip(*parts, strict=True))
        self._broken |= gradients.isnan().any()
        return logits, values, gradients

    def _one_batch(self, x: Tensor, y: Tensor, evaluate: Evaluate) -> tuple[Tensor, Tensor, Tensor]:
        images = x.detach().requires_grad_()
        logits, values = evaluate(images, y)
        (gradient,) = torch.autograd.grad(values.sum(), images)
        return logits.detach(), values.detach(), gradient

    def _batches(self, x: Tensor, y: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        return zip(x.split(self.batch_size), y.split(self.batch_size), strict=True)

    def _labels(self, x: Tensor, y: NDArray[Any] | None) -> Tensor:
        if y is not None:
            return torch.from_numpy((np.argmax(y, axis=1) if np.ndim(y) == 2 else np.asarray(y)).astype(np.int64))
        if self._targeted:
            raise AttackError(f"{type(self).__name__} is targeted and needs the classes to reach as y.")
        check_images(x, type(self).__name__)
        with frozen(self.model):
            parts = [self.logits(batch.to(self.device)).argmax(1).cpu() for batch in x.split(self.batch_size)]
        return torch.cat(parts) if parts else torch.empty(0, dtype=torch.int64)
