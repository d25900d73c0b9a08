"""Held-out images for every data set: those of the bench, or a tenth of the training images where it holds out none."""

from __future__ import annotations

import torch

from pytest_robust.bench.bench import Bench
from pytest_robust.data.split import Split

#: Share of the training images that is held out where the profile holds out none (our choice).
SHARE = 0.1
#: Added to the run's seed, so that the choice shares no random numbers with anything else.
SEED = 5_000_003


def training_and_held_out(bench: Bench) -> tuple[Split, Split]:
    """Training images, and clean images held out from them, on which a defense may set a threshold; disjoint.

    Where the bench has no validation images, ``bench.classifier`` was trained on both: train a network of your own on
    the first.
    """
    if bench.validation_split is not None:
        return bench.train_split, bench.validation_split
    everything = bench.train_split
    order = torch.randperm(len(everything), generator=torch.Generator().manual_seed(bench.settings.seed + SEED))
    cut = max(1, round(SHARE * len(everything)))
    held_out = everything.subset(order[:cut], name=f"{everything.name}[held out]")
    return everything.subset(order[cut:], name=f"{everything.name}[not held out]"), held_out
