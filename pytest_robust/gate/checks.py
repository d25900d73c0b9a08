"""Signs on the clean images that no figure is evidence: guesses, no logits, repeats."""

from __future__ import annotations

from pytest_robust.data.split import Split
from pytest_robust.evaluation.guessing import NORMALISATION, guessing_rate, guessing_signs
from pytest_robust.evaluation.rate import Rate
from pytest_robust.models.classifier import look_like_probabilities

#: Share of images that may repeat others (ours): public sets have a few duplicates, notMNIST 113 of its 8,724.
MOST_REPEATS = 0.02


def clean_checks(clean: Rate, split: Split, normalised: bool) -> tuple[str, ...]:
    """What speaks against a model that is no better than guessing, a sentence each; empty when nothing does.

    Args:
        clean: accuracy on the images as they are.
        split: the images; whoever always answers with their most frequent class guesses best.
        normalised: whether the user gave a mean or a standard deviation.
    """
    twice = "that the model does not normalise its images itself, as mean and std are given here too"
    return guessing_signs(clean, guessing_rate(split.y), first=twice if normalised else NORMALISATION)


def repeat_checks(split: Split) -> tuple[str, ...]:
    """What speaks against images that are there more than once: intervals are of independent ones."""
    repeats = len(split) - split.distinct
    if repeats <= MOST_REPEATS * len(split):
        return ()
    return (
        f"only {split.distinct} of the {len(split)} images are distinct, and repeats make every interval too narrow: "
        "give each image once",
    )


def output_checks(lowest: float, highest: float, n: int) -> tuple[str, ...]:
    """What speaks against outputs for `n` images that run from `lowest` to `highest`, a sentence each."""
    if not look_like_probabilities(lowest, highest, n):
        return ()
    return (
        f"all outputs lie in [0, 1] (from {lowest:.3g} to {highest:.3g} on {n} images) and look like probabilities "
        "(a sigmoid?), behind which gradients vanish and attacks look weak: give logits",
    )
