"""The dropout ensemble: many passes with dropout on, a plurality vote, and the votes' disagreement as a score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from pytest_robust.bench.bench import Bench
from pytest_robust.bench.defense import Defense
from pytest_robust.models.classifier import Classifier
from pytest_robust.models.dropout_masks import KeyedPasses, MeanOverMasks
from pytest_robust.models.recipe import Recipe
from pytest_robust.store.fingerprint import fingerprint, source_fingerprint
from pytest_robust.threats.decision import Decision
from pytest_robust.threats.defended import Defended, ThreatModel
from pytest_robust.threats.surfaces import surface_of

Score = Literal["entropy", "variance"]

PAPER = "Wang, Kunin, Pyron: Exploring Adversarial Input Spaces for Convolutional Neural Network Defense"
#: How the plain network is trained: in the authors' code Adam for 10 epochs, in batches of 100 (MNIST) or 50
#: (CIFAR-10); Adam's own learning rate (our choice).
TRAINING: dict[str, Any] = {"optimizer": "adam", "learning_rate": 1e-3, "epochs": 10, "batch_size": 100}
#: Ten epochs of 1,058 digits are a hundred steps. Of (1e-3, 3e-3) × (30, 60) epochs, 3e-3 for 30 had the most of 200
#: held-out training images right.
TRAINING_OF: dict[str, dict[str, Any]] = {
    "cifar10": {"batch_size": 50},
    "digits": {"learning_rate": 3e-3, "epochs": 30},
}
#: Added to the run's seed: of the defense's masks, and of the attacker's own ones.
MASK_SEED, ATTACKER_SEED = 4_000_003, 5_000_011


@dataclass(frozen=True)
class DropoutEnsemble(Defense):
    """The class that most of many forward passes with dropout name. It never rejects.

    Its score is how much the passes disagree: by default the entropy of their votes, because labels are names. The
    authors' variance of the predicted classes' numbers calls a vote split between 0 and 9 eighty-one times as
    suspicious as one between 4 and 5, so another order of the classes gives another detector.

    The masks of an image depend on its bytes and on the seed, so that it gets the same answer in every batch and run.

    Args:
        passes: forward passes; 50 in the authors' code.
        score: "entropy" of the votes in nats, or the "variance" of the predicted class indices, as in the paper.
        draws: masks over which the adaptive attacker takes the mean.
        architecture: registered name of the network; None is the authors' for images of this size.
    """

    name: ClassVar[str] = "dropout_ensemble"
    paper: ClassVar[str] = PAPER
    limitation: ClassVar[str] = (
        "its own authors: adversaries pushed a few steps past the boundary still fool it; and an attacker who takes "
        "the mean gradient over dropout masks attacks it directly (Athalye et al. 2018, on randomised defenses)"
    )

    passes: int = 50
    score: Score = "entropy"
    draws: int = 10
    architecture: str | None = None

    def fit(self, bench: Bench) -> Defended:
        """Train the plain network; dropout is what the defense adds to it."""
        network = bench.train(self.recipe(bench))
        ensemble = self.ensemble_of(network, bench)
        attacker = MeanOverMasks(network, self.draws, bench.settings.seed + ATTACKER_SEED)
        return Defended(
            name=self.title,
            num_classes=network.num_classes,
            decide_batch=lambda x: decide_by_votes(ensemble(x), self.score),
            surfaces={
                ThreatModel.GRAY_BOX: network,
                # A vote has no gradient. The network without dropout is what dropout's own rule puts in its place.
                ThreatModel.WHITE_BOX: network,
                ThreatModel.ADAPTIVE: surface_of(attacker, network, f"{self.title}, mean over masks"),
            },
            device=bench.device,
            fingerprint=voting_fingerprint(self, ensemble, network.fingerprint),
            networks={"network": network},
            random_by_image=True,
        )

    def ensemble_of(self, network: Classifier, bench: Bench) -> KeyedPasses:
        """The network's passes with dropout, from images to logits of shape (N, passes, K)."""
        return KeyedPasses(network, self.passes, bench.settings.seed + MASK_SEED)

    def recipe(self, bench: Bench) -> Recipe:
        """Of the plain network, which the paper's adversaries are made on."""
        changes = {} if self.architecture is None else {"architecture": self.architecture}
        return plain_recipe(bench, **changes)


def plain_recipe(bench: Bench, **changes: Any) -> Recipe:
    """The recipe of the paper's plain network for the data set of `bench`, with fields changed.

    No validation images: the authors trained for a fixed number of epochs.
    """
    fields = {
        "architecture": architecture_for(bench.dataset.input_shape),
        "validation": None,
        "patience": None,
        "weight_decay": 0.0,
        "schedule": "constant",
        "augmentation": "none",
        "name": "exploring, plain",
        **TRAINING,
        **TRAINING_OF.get(bench.dataset.name, {}),
        **changes,
    }
    return bench.recipe(**fields)


def architecture_for(input_shape: tuple[int, int, int]) -> str:
    """Registered name of the authors' network for images of a shape (C, H, W); the MNIST one needs 16×16 pixels."""
    c, h, w = input_shape
    if min(h, w) < 16:
        return "exploring_digits"
    return "exploring_mnist" if c == 1 else "exploring_cifar"


def decide_by_votes(logits: Tensor, score: Score) -> Decision:
    """The plurality's decision for N images.

    Args:
        logits: of each pass, float of shape (N, T, K).
        score: what tells how much they disagree.
    """
    counts = votes(logits)
    # Between classes with equally many votes the passes' mean probability decides, and not the order of the classes.
    label = (counts + 0.5 * logits.double().softmax(2).mean(1)).argmax(1)
    suspicion = vote_entropy(counts) if score == "entropy" else vote_variance(counts)
    return Decision(label, torch.zeros_like(label, dtype=torch.bool), suspicion.float())


def votes(logits: Tensor) -> Tensor:
    """How many of T passes name each class: from logits (N, T, K) to float64 of shape (N, K)."""
    n, _, classes = logits.shape
    named = logits.argmax(2)
    empty = torch.zeros(n, classes, dtype=torch.float64, device=logits.device)
    return empty.scatter_add_(1, named, torch.ones_like(named, dtype=torch.float64))


def vote_entropy(counts: Tensor) -> Tensor:
    """Entropy of the votes in nats, 0 (all agree) … log K, float64 of shape (N,), from counts (N, K)."""
    share = counts / counts.sum(1, keepdim=True)
    return torch.where(share > 0, -share * share.log(), 0.0).sum(1)


def vote_variance(counts: Tensor) -> Tensor:
    """Variance of the predicted class indices (section 3.1), float64 of shape (N,), from counts (N, K)."""
    share = counts / counts.sum(1, keepdim=True)
    index = torch.arange(counts.shape[1], dtype=counts.dtype, device=counts.device)
    mean = (share * index).sum(1, keepdim=True)
    return (share * (index - mean).square()).sum(1)


def voting_fingerprint(defense: Defense, ensemble: KeyedPasses, network: str) -> str:
    """Of everything that a decision by votes depends on: parameters, masks, the votes' code and the network."""
    masks = ensemble.network
    code = [source_fingerprint(kind) for kind in (type(defense), DropoutEnsemble, KeyedPasses)]
    return fingerprint([defense.name, defense.parameters, masks.seed, code, network])


defense = DropoutEnsemble
