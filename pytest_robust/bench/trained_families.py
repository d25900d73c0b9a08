"""The families that the bench trains itself: a ladder of eight networks on digits and on MNIST-like images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pytest_robust.errors import FamilyError
from pytest_robust.models.family import Family
from pytest_robust.models.recipe import Recipe

if TYPE_CHECKING:
    from pytest_robust.bench.bench import Bench


@dataclass(frozen=True)
class Rung:
    """How one network of a ladder is trained, where it differs from the recipe of the run.

    Args:
        group: that it belongs to; None is none.
        epochs: so few for the first networks that the accuracies come apart.
        learning_rate: of SGD.
        schedule: of the learning rate.
    """

    group: str | None
    epochs: int
    learning_rate: float = 0.01
    schedule: Literal["constant", "cosine"] = "constant"


#: Epochs were chosen by five-fold cross-validation on the training images, never on test images, so that the accuracies
#: come apart: .82, .86, .90, .93, .95, .97, .98 and .99 there.
DIGITS = {
    "linear": Rung(None, 4),
    "mlp_narrow": Rung("mlp", 12),
    "mlp_wide": Rung("mlp", 10),
    "convnet_8": Rung("convnet", 20),
    "convnet_16": Rung("convnet", 40),
    "convnet_32": Rung("convnet", 30),
    "resnet_small": Rung("resnet", 20),
    "resnet_large": Rung("resnet", 20),
}
#: Chosen likewise, on the thousand images that MNIST's `quick` profile holds out from training: .86, .89, .91, .93,
#: .94, .96, .95 and .98 there.
MNIST = {
    "linear": Rung(None, 1),
    "mlp_narrow": Rung("mlp", 4),
    "mlp_wide": Rung("mlp", 16),
    "convnet_8": Rung("convnet", 8),
    "convnet_16": Rung("convnet", 4),
    "convnet_32": Rung("convnet", 8),
    "resnet_small": Rung("resnet", 5, learning_rate=0.05, schedule="cosine"),
    "resnet_large": Rung("resnet", 4, learning_rate=0.05, schedule="cosine"),
}


def digits(bench: Bench) -> Family:
    """Eight networks for `digits`, from softmax regression to a small ResNet, trained and cached.

    Raises:
        FamilyError: the run has other images.
    """
    return _ladder(bench, "digits", DIGITS, (1, 8, 8))


def mnist(bench: Bench) -> Family:
    """The same networks for `mnist` and `fashion_mnist`.

    Raises:
        FamilyError: the run has other images.
    """
    return _ladder(bench, "mnist", MNIST, (1, 28, 28))


def _ladder(bench: Bench, name: str, rungs: dict[str, Rung], input_shape: tuple[int, int, int]) -> Family:
    if bench.dataset.input_shape != input_shape:
        raise FamilyError(
            f"the family {name!r} is trained on images of shape {input_shape} (C, H, W), but "
            f"{bench.dataset.name!r} has {bench.dataset.input_shape}: name another with --family or --dataset."
        )
    recipes = {network: _recipe(bench, network, rung) for network, rung in rungs.items()}
    longest_first = list(reversed(recipes))  # so that no core waits for the last one
    trained = dict(zip(longest_first, bench.train_all([recipes[each] for each in longest_first]), strict=True))
    groups = {network: rung.group for network, rung in rungs.items() if rung.group is not None}
    return Family(name, {network: trained[network] for network in rungs}, groups)


def _recipe(bench: Bench, network: str, rung: Rung) -> Recipe:
    return bench.recipe(
        architecture=f"ladder_{network}",
        name=network,
        epochs=rung.epochs,
        learning_rate=rung.learning_rate,
        schedule=rung.schedule,
    )
