"""Spearman's ρ between clean accuracy and each figure of robustness, bootstrapped over images.

A draw takes images of the whole set, so that both of a network's figures vary in it: its accuracy on all drawn images,
its perturbations on those among them that were attacked. Networks of nearly the same accuracy then change places in
some draws, which widens the interval as it should.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pytest_robust.evaluation.bootstrap import bootstrap, everybody, weighted_mean, weighted_median
from pytest_robust.evaluation.rank_correlation import RankCorrelation, rank_correlation
from pytest_robust.studies.crossed import Crossed
from pytest_robust.studies.metrics import CORRELATED, FLOOR

Correlations = dict[str, dict[str, RankCorrelation]]


def correlations(crossed: Crossed) -> tuple[Correlations, Correlations]:
    """By attack, then by name of `CORRELATED`: each network's figures over its own successes; over common ones."""
    images = len(crossed.correct)
    given = _figures(crossed, everybody(images))[0]
    drawn = bootstrap(lambda weights: _figures(crossed, weights), images, seed=crossed.seed)
    found: tuple[Correlations, Correlations] = ({}, {})
    row = 1
    for attack in crossed.attacks:
        for kind, n in zip(found, _images(crossed, attack), strict=True):
            kind[attack] = {}
            for metric in CORRELATED:
                behind = len(crossed.attacked) if metric == "success" else n
                kind[attack][metric] = rank_correlation(given[0], given[row], drawn[:, 0], drawn[:, row], behind)
                row += 1
    return found


def _images(crossed: Crossed, attack: str) -> tuple[int, int]:
    """Behind each network's figures over its own successes (of the network with the fewest); over common ones."""
    success = crossed.stacked(attack, "success")
    return int(success.sum(0).min()), int(success.all(1).sum())


def _figures(crossed: Crossed, weights: Tensor) -> Tensor:
    """Of shape (draws, 1 + attacks · 2 · metrics, networks): accuracy first, then the order of `correlations`."""
    all_images = torch.ones_like(crossed.correct)
    rows = [weighted_mean(weights, crossed.correct, all_images)]
    attacked = weights[:, crossed.attacked]
    for attack in crossed.attacks:
        success = crossed.stacked(attack, "success")
        rows += _metrics(crossed, attack, attacked, success)
        rows += _metrics(crossed, attack, attacked, success.all(1, keepdim=True).expand_as(success))
    # Sums of the same values in another order differ by rounding, which must not break ties among networks.
    return torch.stack(rows, 1).round(decimals=9)


def _metrics(crossed: Crossed, attack: str, weights: Tensor, counted: Tensor) -> list[Tensor]:
    """The figures of `CORRELATED`, of shape (draws, networks) each, over the counted images (N, networks)."""
    success, l2, linf, score = (crossed.stacked(attack, field) for field in ("success", "l2", "linf", "pass_score"))
    found = {
        "success": weighted_mean(weights, success, torch.ones_like(success)),
        "l2": weighted_mean(weights, l2, counted),
        "l2_median": weighted_median(weights, l2, counted),
        "linf": weighted_mean(weights, linf, counted),
        "floor": weighted_mean(weights, linf <= FLOOR, counted),
        "pass_score": weighted_mean(weights, score, counted),
    }
    return [found[metric] for metric in CORRELATED]
