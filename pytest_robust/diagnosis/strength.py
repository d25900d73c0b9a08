"""Checks on budgets: without a bound every attack wins, and a larger budget never helps the model."""

from __future__ import annotations

from itertools import pairwise

from pytest_robust.bench.evaluating import LEAST_SUCCESS_WITHOUT_BUDGET
from pytest_robust.diagnosis.budgets import budget, largest, with_budget
from pytest_robust.diagnosis.check import Finding
from pytest_robust.diagnosis.subject import Subject
from pytest_robust.evaluation.compare import paired_difference
from pytest_robust.evaluation.rate import Rate

#: The grid of budgets, as multiples of ε (ours).
GRID = (0.25, 0.5, 1.0, 2.0)
#: Error rate of the comparisons over the grid together.
ALPHA = 0.05


def unbounded_attack(subject: Subject) -> Finding:
    """Whether the attack fools every image once its budget reaches every other image."""
    if subject.attack.eps is None:
        return _without_budget(subject)
    eps = largest(subject)
    adversarial = subject.run(with_budget(subject.attack, eps), subject.images)
    withstood, n = int((~adversarial.success).sum()), len(adversarial)
    figures = {"eps": eps, "success": 1 - withstood / n}
    if withstood == 0:
        return Finding(False, f"With ε = {eps:.3g}, the full range, the attack fools all of {n} images.", n, figures)
    sentence = (
        f"With ε = {eps:.3g}, the full range, {withstood} of {n} images still withstand the attack, though every other "
        "image is within reach: the attack fails for a reason of its own (masked gradients, steps, restarts)."
    )
    return Finding(True, sentence, n, figures)


def _without_budget(subject: Subject) -> Finding:
    rate = Rate.of(subject.adversarial.success)
    figures = {"success": rate.value}
    if rate.value >= LEAST_SUCCESS_WITHOUT_BUDGET:
        return Finding(False, f"The attack has no budget and fools {rate}.", rate.n, figures)
    sentence = (
        f"The attack has no budget and yet fools only {rate}: it fails for a reason of its own (masked gradients, too "
        "few iterations)."
    )
    return Finding(True, sentence, rate.n, figures)


def eps_monotone(subject: Subject) -> Finding:
    """Whether robust accuracy falls, or stays, from each ε of a grid to the next: exact McNemar tests."""
    eps, _ = budget(subject)
    reach = largest(subject)
    grid = [eps * factor for factor in GRID if eps * factor <= reach]
    robust = {
        at: ~(
            subject.adversarial if at == eps else subject.run(with_budget(subject.attack, at), subject.images)
        ).success
        for at in grid
    }
    pairs = list(pairwise(grid))
    rises = {pair: paired_difference(robust[pair[1]], robust[pair[0]]) for pair in pairs}
    n = len(subject.images)
    figures = {f"accuracy at {at:.4g}": float(robust[at].float().mean()) for at in grid}
    curve = ", ".join(f"{float(robust[at].float().mean()):.2f} at {at:.3g}" for at in grid)
    worst = min(rises, key=lambda pair: rises[pair].p_first_greater, default=None)
    if worst is None or rises[worst].p_first_greater > ALPHA / len(pairs):
        return Finding(False, f"Robust accuracy does not rise with ε ({curve}; {n} images).", n, figures)
    sentence = (
        f"Robust accuracy rises from ε = {worst[0]:.3g} to {worst[1]:.3g} ({curve}; {n} images, McNemar p = "
        f"{rises[worst].p_first_greater:.1g}), though the larger ball holds the smaller: the attack loses its way at "
        "large ε (masked gradients, steps)."
    )
    return Finding(True, sentence, n, figures)
