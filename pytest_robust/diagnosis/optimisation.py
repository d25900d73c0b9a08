"""Checks on an iterative attack: has it come to an end, and would more steps or restarts change much?"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pytest_robust.attacks.attack import Attack
from pytest_robust.diagnosis.check import Finding, NotApplicable
from pytest_robust.diagnosis.subject import Subject
from pytest_robust.evaluation.rate import Rate

#: The last steps that are looked at (Pintor et al. 2022), but no more than this share of all (ours).
LAST, LAST_SHARE = 10, 0.25
#: How much of its whole way the loss may still go in them (Pintor et al. 2022).
MOST_PROGRESS = 0.05
#: Parameters that make an attack longer.
EFFORTS = ("max_iter", "num_random_init", "nb_random_init", "nb_restarts")


def incomplete_optimisation(subject: Subject) -> Finding:
    """Whether the loss of images that the attack did not fool still falls in its last steps."""
    if subject.attack.total_gradient_calls < 2:
        raise NotApplicable(f"{subject.attack.name} takes no steps along a gradient.")
    fooled = subject.adversarial.success
    losses = subject.remembered(incomplete_optimisation, lambda: {"losses": recorded_losses(subject)})["losses"]
    if len(losses) < 2:
        raise NotApplicable(f"The steps of {subject.attack.name} cannot be watched from outside.")
    withstood = ~fooled[: losses.shape[1]]
    n = int(withstood.sum())
    if n == 0:
        return Finding(False, f"The attack fooled all {len(withstood)} images.", len(withstood), {"progress": 0.0})
    steps = len(losses)
    last = max(1, min(LAST, int(steps * LAST_SHARE)))
    progress = float(progress_of(losses[:, withstood], last).mean())
    figures = {"progress": progress, "steps": float(steps)}
    if progress <= MOST_PROGRESS:
        sentence = f"The loss of {n} images that withstood goes {progress:.1%} of its way in the last {last} steps."
        return Finding(False, sentence, n, figures)
    sentence = (
        f"The loss of {n} images that withstood still goes {progress:.0%} of its way in the last {last} of {steps} "
        "steps: the attack stops too early; give it more steps, or longer ones."
    )
    return Finding(True, sentence, n, figures)


def progress_of(losses: Tensor, last: int) -> Tensor:
    """How far each image's loss still falls in the `last` steps, as a share of its whole way.

    Args:
        losses: float of shape (steps, n), which the attack lowers.
        last: how many steps.
    """
    lowest = losses.cummin(0).values
    way = losses.amax(0) - losses.amin(0)
    fall = lowest[-1 - last] - lowest[-1]
    return torch.where(way > 0, fall / way, torch.zeros_like(way))


def recorded_losses(subject: Subject) -> Tensor:
    """What the attack lowers, at each of its steps, float of shape (steps, n); empty where it cannot be watched.

    One restart, and one pool of images.
    """
    from pytest_robust.attacks.base import TorchAttack

    attack, surface, images = subject.attack, subject.surface, subject.images
    if attack.targeted:
        return torch.empty(0, 0)
    overrides = {"num_random_init": min(1, attack.params["num_random_init"])} if _restarts(attack) else {}
    with subject.undisturbed():
        built = attack.build(surface, seed=subject.seed, **overrides)
        if not isinstance(built, TorchAttack):
            return torch.empty(0, 0)
        seen: list[Tensor] = []
        climbed = built.loss_and_gradient

        def watched(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            logits, loss, gradient = climbed(x, y)
            seen.append(-loss.cpu())
            return logits, loss, gradient

        setattr(built, "loss_and_gradient", watched)  # noqa: B010 - of this object, whose class has a method
        pool = slice(0, built.pool_size)
        built.perturb(images.x[pool], images.y[pool])
    whole = [loss for loss in seen if len(loss) == len(images.y[pool])]
    return torch.stack(whole) if whole and len(whole) == len(seen) else torch.empty(0, 0)


def _restarts(attack: Attack) -> bool:
    return isinstance(attack.params.get("num_random_init"), int)


def converged(subject: Subject) -> Finding:
    """Whether twice the steps, or twice the restarts, fool many more images."""
    stronger = {name: _doubled(subject.attack, name) for name in EFFORTS if name in subject.attack.params}
    if not stronger:
        raise NotApplicable(f"{subject.attack.name} has neither steps nor restarts to be doubled.")
    images = subject.images
    robust = ~subject.adversarial.success
    rate = Rate.of(robust)
    allowed = (rate.upper - rate.lower) / 2
    drops = {name: _drop(subject, attack, robust) for name, attack in stronger.items()}
    figures: dict[str, float] = {"allowed": allowed, **drops}
    shown = ", ".join(f"twice the {name}: {drop:+.1%}" for name, drop in drops.items())
    worst = max(drops, key=lambda name: drops[name])
    if drops[worst] <= allowed:
        sentence = f"Robust accuracy {rate} falls by no more than its interval's half-width with more effort ({shown})."
        return Finding(False, sentence, len(images), figures)
    sentence = (
        f"Robust accuracy {rate} falls by {drops[worst]:.1%} with {worst}={stronger[worst].params[worst]}, more than "
        f"its interval's half-width of {allowed:.1%}: the attack has not converged; give it more."
    )
    return Finding(True, sentence, len(images), figures)


def _doubled(attack: Attack, name: str) -> Attack:
    value: Any = attack.params[name]
    return attack.configured(**{name: max(2, 2 * int(value))})


def _drop(subject: Subject, stronger: Attack, robust: Tensor) -> float:
    """By how much the stronger attack lowers robust accuracy; images that the attack fooled stay fooled."""
    if not bool(robust.any()):
        return 0.0
    more = subject.run(stronger, subject.withstanding)
    return float(more.success.sum()) / len(robust)
