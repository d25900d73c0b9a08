"""The dustbin class: one more class, trained on foreign images and on mixtures of two in-distribution images."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from pytest_robust.bench.bench import Bench
from pytest_robust.bench.defense import Defense
from pytest_robust.data.split import Split
from pytest_robust.errors import SettingsError
from pytest_robust.models.classifier import Classifier
from pytest_robust.models.recipe import Recipe
from pytest_robust.store.fingerprint import fingerprint, source_fingerprint
from pytest_robust.threats.decision import Decision
from pytest_robust.threats.defended import Defended, ThreatModel

#: Foreign training images per in-distribution training image: 10 K NotMNIST to 50 K MNIST (section VI) …
OUT_DISTRIBUTION_SHARE = 0.2
#: … and 15 K CIFAR-100 to 50 K CIFAR-10.
OUT_DISTRIBUTION_SHARE_OF = {"cifar10": 0.3}
#: Sources of interpolated images per training image: 1,500 of each class's 5,000 (section V, "Pair Selection").
INTERPOLATED_SHARE = 0.3
#: α of equation (5): the weight of the source image; the target image has the rest.
MIXING_RATIO = 0.5
#: Rows of the distance matrix that exist at one time: 256 × 50 K floats are 51 MB.
BLOCK = 256
#: Added to the run's seed, so that choosing sources shares no random numbers with training.
SOURCE_SEED = 3_000_003


@dataclass(frozen=True)
class Dustbin(Defense):
    """A network with a dustbin class ("augmented CNN"); it rejects what falls into the dustbin.

    Args:
        out_distribution: foreign training images per training image; None is the paper's share for the data
            set, or what there is if that is less; 0 trains on no foreign images.
        interpolated: interpolated training images per training image; 0 is the paper's variant without them.
    """

    name: ClassVar[str] = "dustbin"
    paper: ClassVar[str] = "Abbasi, Rajabi, Gagné, Bobba: Towards Dependable Deep CNNs with Out-distribution Learning"
    limitation: ClassVar[str] = (
        "evaluated by its authors against a black box only; an attacker who differentiates the augmented network "
        "avoids the dustbin (Carlini & Wagner, AISec 2017, on detectors of this kind)"
    )

    out_distribution: float | None = None
    interpolated: float = INTERPOLATED_SHARE

    def fit(self, bench: Bench) -> Defended:
        """Train the augmented network; the undefended one of the bench gives the features for pairing."""
        network = bench.train(self.recipe(bench))
        dustbin = bench.dataset.num_classes

        def decide(x: Tensor) -> Decision:
            logits = network.logits_of(x, len(x))
            real = logits[:, :dustbin]
            # Log-odds of the dustbin: the order of its probability, without the ties where that rounds to 0 or 1.
            score = logits[:, dustbin] - real.logsumexp(1)
            return Decision(real.argmax(1), logits.argmax(1) == dustbin, score)

        return Defended(
            name=self.title,
            num_classes=dustbin,
            decide_batch=decide,
            surfaces={
                ThreatModel.GRAY_BOX: bench.classifier,
                ThreatModel.WHITE_BOX: network,
                ThreatModel.ADAPTIVE: network.rejecting(),
            },
            device=bench.device,
            fingerprint=fingerprint([self.name, source_fingerprint(type(self)), network.fingerprint]),
            networks={"augmented": network, "naive": bench.classifier},
        )

    def recipe(self, bench: Bench) -> Recipe:
        """Of the augmented network."""
        return bench.recipe(*self.training_data(bench), name=self.title)

    def training_data(self, bench: Bench) -> tuple[Split, ...]:
        """The splits that the augmented network is trained on, labelled with the dustbin as the last class."""
        training, classes = bench.train_split, bench.dataset.num_classes
        parts = [replace(training, num_classes=classes + 1)]
        share = self.out_distribution
        if share is None:
            share = OUT_DISTRIBUTION_SHARE_OF.get(bench.dataset.name, OUT_DISTRIBUTION_SHARE)
        if share:
            foreign = self._foreign(bench, round(share * len(training)))
            parts.append(foreign.relabelled(classes, classes + 1))
        if self.interpolated:
            per_class = round(self.interpolated * len(training) / classes)
            mixed = interpolate(bench.classifier, training, per_class, bench.settings.seed + SOURCE_SEED)
            parts.append(mixed.relabelled(classes, classes + 1))
        return tuple(parts)

    def _foreign(self, bench: Bench, wanted: int) -> Split:
        """So many foreign images; the default share takes what there is."""
        there = bench.out_distribution.train
        if self.out_distribution is not None and len(there) < wanted:
            most = math.floor(100 * len(there) / len(bench.train_split)) / 100
            raise SettingsError(
                f"{self.title} asks for {wanted} foreign images, but {there.name} has {len(there)}: ask for a share of "
                f"at most {most:g} of the training images."
            )
        return there.sample(wanted, bench.settings.seed + SOURCE_SEED)


def interpolate(classifier: Classifier, training: Split, per_class: int, seed: int) -> Split:
    """Mixtures of training images with their nearest neighbours of another class (equation 5).

    Args:
        classifier: its penultimate features measure nearness (Euclidean).
        training: N images.
        per_class: how many random sources of each class; fewer where a class has fewer.
        seed: of the choice of sources.

    Returns:
        M images in [0, 1], labelled with their source's class, of kind "interpolated".
    """
    sources = choose_sources(training.y, per_class, seed)
    features = classifier.features_of(training.x)
    targets = nearest_of_another_class(features, training.y, sources)
    mixed = MIXING_RATIO * training.x[sources] + (1 - MIXING_RATIO) * training.x[targets]
    name = f"interpolated {training.name}"
    return Split(mixed.clamp(0, 1), training.y[sources], training.num_classes, name, "interpolated")


def choose_sources(y: Tensor, per_class: int, seed: int) -> Tensor:
    """Positions, int64 of shape (M,), of `per_class` random images of each class."""
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(seed))
    return torch.cat([order[y[order] == label][:per_class] for label in y.unique()])


def nearest_of_another_class(features: Tensor, y: Tensor, sources: Tensor, block: int = BLOCK) -> Tensor:
    """For each source the position of its nearest image of another class, int64 of shape (M,).

    Args:
        features: float of shape (N, F).
        y: labels, int64 of shape (N,).
        sources: positions of the M sources.
        block: sources at one time; memory grows with block × N, never with N × N.
    """
    squares = features.square().sum(1)
    nearest = []
    for part in sources.split(block):
        # ‖a − b‖² without ‖a‖², which is the same for every candidate of a row.
        distance = squares - 2 * features[part] @ features.T
        distance.masked_fill_(y[part][:, None] == y[None, :], torch.inf)
        nearest.append(distance.argmin(1))
    return torch.cat(nearest)


defense = Dustbin
