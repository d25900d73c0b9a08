"""A Recipe: everything that determines a trained model, as a frozen dataclass with a stable fingerprint."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, get_args, get_type_hints

from torch import Tensor

from pytest_robust.data.split import Split
from pytest_robust.errors import SettingsError
from pytest_robust.models.losses import CrossEntropy, TrainingLoss
from pytest_robust.store.fingerprint import tensors_fingerprint

Precision = Literal["float32", "bfloat16"]
CROSS_ENTROPY = CrossEntropy()


@dataclass(frozen=True, eq=False)
class Recipe:
    """How a model is trained.

    Args:
        architecture: registered name of the network.
        data: what it is trained on; the splits are concatenated and must agree in shape and number of classes.
        validation: images on which the best epoch is chosen, never test images; None keeps the last epoch.
        optimizer: "sgd" or "adam".
        learning_rate: step size at the start.
        momentum: of SGD.
        weight_decay: L2 penalty of the optimiser.
        schedule: "constant", or "cosine" down to zero over `epochs`.
        epochs: how often the data is seen, at most; 0 leaves the network untrained.
        patience: stop after so many epochs without a better validation accuracy; None trains all epochs.
        batch_size: images per step.
        augmentation: "none", or "flip_crop" (mirrored, shifted by up to 4 pixels) for photographs.
        normalization: "none", "mean" (minus the mean image of the first split) or "mean_std" (per channel).
        precision: "float32" or "bfloat16" (autocast; weights stay float32).
        channels_last: memory format in which it trains; changes the order of summation, so it counts.
        seed: of initialisation, shuffling, dropout and augmentation.
        loss: what the training minimises.
        companion: what the loss looks at beside images and labels, a row for each image of `data` in order: a
            teacher's logits, or the images to reach; None for a loss that needs nothing.
        name: for people and reports; does not count.

    Raises:
        SettingsError: a field that cannot be right, or splits that do not fit each other.
    """

    architecture: str
    data: tuple[Split, ...]
    validation: Split | None = None
    optimizer: Literal["sgd", "adam"] = "sgd"
    learning_rate: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 1e-4
    schedule: Literal["constant", "cosine"] = "constant"
    epochs: int = 50
    patience: int | None = None
    batch_size: int = 64
    augmentation: Literal["none", "flip_crop"] = "none"
    normalization: Literal["none", "mean", "mean_std"] = "none"
    precision: Precision = "float32"
    channels_last: bool = True
    seed: int = 0
    loss: TrainingLoss = CROSS_ENTROPY
    companion: Tensor | None = None
    name: str = ""

    def __post_init__(self) -> None:
        if not self.data:
            raise SettingsError(f"the recipe for {self.architecture!r} names no training data.")
        shapes = {split.input_shape for split in self.data}
        classes = {split.num_classes for split in self.data}
        if len(shapes) > 1 or len(classes) > 1:
            raise SettingsError(
                f"the training data of {self.architecture!r} disagree: input shapes {sorted(shapes)}, numbers of "
                f"classes {sorted(classes)}; relabel or resize them first."
            )
        if self.patience is not None and self.validation is None:
            raise SettingsError(f"the recipe for {self.architecture!r} has patience but no validation images.")
        self._check_validation()
        self._check_companion()
        self._check_choices()
        self._check_numbers()

    def _check_validation(self) -> None:
        valid = self.validation
        if valid is None or (valid.input_shape == self.input_shape and valid.num_classes <= self.num_classes):
            return
        raise SettingsError(
            f"the validation images of {self.architecture!r} do not fit its training data: {valid.num_classes} classes "
            f"and shape {valid.input_shape}, but it is trained on {self.num_classes} and {self.input_shape}."
        )

    def _check_companion(self) -> None:
        images = sum(len(split) for split in self.data)
        if self.companion is None or len(self.companion) == images:
            return
        raise SettingsError(
            f"the recipe for {self.architecture!r} has {len(self.companion)} companion rows for {images} training "
            "images; give one for each."
        )

    def _check_choices(self) -> None:
        for field, hint in get_type_hints(type(self)).items():
            value, allowed = getattr(self, field), get_args(hint)
            if allowed and all(isinstance(choice, str) for choice in allowed) and value not in allowed:
                raise SettingsError(
                    f"the recipe for {self.architecture!r} has {field}={value!r}; it is one of: {', '.join(allowed)}."
                )

    def _check_numbers(self) -> None:
        least = {"epochs": 0, "batch_size": 1, "patience": 1, "momentum": 0, "weight_decay": 0, "learning_rate": 0}
        for field, low in least.items():
            value = getattr(self, field)
            # Written so that NaN fails as well.
            if value is not None and not low <= value < float("inf"):
                raise SettingsError(
                    f"the recipe for {self.architecture!r} has {field}={value!r}; it is a number of at least {low}."
                )

    @property
    def num_classes(self) -> int:
        """Of the training data, the dustbin included."""
        return self.data[0].num_classes

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        return self.data[0].input_shape

    @property
    def title(self) -> str:
        """What people call it."""
        return self.name or self.architecture

    @cached_property
    def settings(self) -> dict[str, Any]:
        """Every field that determines the result, as plain data; splits by their fingerprints."""
        apart = ("name", "data", "validation", "loss", "companion")
        fields = {k: getattr(self, k) for k in self.__dataclass_fields__ if k not in apart}
        fields["data"] = [split.fingerprint for split in self.data]
        fields["validation"] = self.validation.fingerprint if self.validation else None
        fields["loss"] = self.loss.settings()
        fields["companion"] = None if self.companion is None else tensors_fingerprint({"rows": self.companion})
        return fields

    @property
    def output_shape(self) -> tuple[int, ...]:
        """What the network gives for one image: logits, or whatever the loss trains it to give."""
        return self.input_shape if self.loss.trains == "image" else (self.num_classes,)

    def with_seed(self, seed: int) -> Recipe:
        """The same recipe with another seed."""
        return replace(self, seed=seed)
