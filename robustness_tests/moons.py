"""Two moons as "images" of two pixels: the toy on which the dustbin paper shows over-generalisation (Figure 2)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pytest_robust.bench.bench import Bench
from pytest_robust.data.split import Split
from pytest_robust.models.classifier import Classifier

#: Points of both moons, and of the foreign points around them; the paper gives no numbers (our choice).
MOON_POINTS = 600
FOREIGN_POINTS = 600
#: Foreign points keep this distance from every moon point, in sides of the square (our choice).
MARGIN = 0.08
#: Added to the run's seed for points that nothing is trained on.
HELD_OUT_SEED = 9_000_011


@dataclass(frozen=True, eq=False)
class Moons:
    """The toy and its two networks.

    Args:
        naive: an MLP trained on the two moons.
        augmented: the same MLP with a third output, trained on foreign points as well.
        points: all training points, float (N, 2) in [0, 1].
        labels: int64 (N,): 0, 1, and 2 for foreign points.
        foreign: foreign points that neither network was trained on.
        own: points of the moons that neither network was trained on.
    """

    naive: Classifier
    augmented: Classifier
    points: Tensor
    labels: Tensor
    foreign: Split
    own: Split


def two_moons_networks(bench: Bench) -> Moons:
    """Train both MLPs, or take them from the store."""
    from sklearn.datasets import make_moons

    def moons(seed: int) -> tuple[Tensor, Tensor]:
        raw, y = make_moons(MOON_POINTS, noise=0.06, random_state=seed)
        return torch.as_tensor(raw, dtype=torch.float32), torch.as_tensor(y, dtype=torch.int64)

    raw, labels = moons(bench.settings.seed)
    more, more_labels = moons(bench.settings.seed + HELD_OUT_SEED)
    # Into the middle of the unit square, so that there is empty space all around.
    points, held_out_points = (
        (0.2 + 0.6 * (each - raw.amin(0)) / (raw.amax(0) - raw.amin(0))).clamp(0, 1) for each in (raw, more)
    )
    far = _far_from(points, 2 * FOREIGN_POINTS, bench.settings.seed)
    train, held_out = far.split(FOREIGN_POINTS)
    dustbin = torch.full((FOREIGN_POINTS,), 2)
    foreign = _split(held_out, dustbin, 3, "two moons, foreign, held out")

    def recipe(*data: Split, name: str) -> Classifier:
        return bench.train(
            bench.recipe(
                *data,
                name=name,
                architecture="mlp",
                validation=None,
                patience=None,
                normalization="none",
                augmentation="none",
                epochs=60,
                learning_rate=0.003,
                optimizer="adam",
                precision="float32",
            )
        )

    augmented = (_split(points, labels, 3, "two moons"), _split(train, dustbin, 3, "two moons, foreign"))
    return Moons(
        recipe(_split(points, labels, 2, "two moons"), name="two moons, naive"),
        recipe(*augmented, name="two moons, dustbin"),
        torch.cat([points, train]),
        torch.cat([labels, dustbin]),
        foreign,
        _split(held_out_points, more_labels, 3, "two moons, held out"),
    )


def _split(points: Tensor, labels: Tensor, classes: int, name: str) -> Split:
    return Split(points.reshape(-1, 1, 1, 2), labels, classes, name)


def _far_from(points: Tensor, count: int, seed: int) -> Tensor:
    """Uniform points of the unit square that keep `MARGIN` from every point; a large draw holds enough."""
    drawn = torch.rand(20 * count, 2, generator=torch.Generator().manual_seed(seed))
    return drawn[torch.cdist(drawn, points).amin(1) > MARGIN][:count]
