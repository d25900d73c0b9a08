"""Checks on the gradients that an attack follows: there, finite, not zero, true to the loss, and not shattered."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from pytest_robust.attacks.checks import zero_gradient_share
from pytest_robust.attacks.crafting import targets_for
from pytest_robust.attacks.geometry import Noise, steepest
from pytest_robust.attacks.objectives import margin, rejection_counts_as
from pytest_robust.data.split import Split
from pytest_robust.diagnosis.budgets import budget
from pytest_robust.diagnosis.check import Finding, NotApplicable, Severity
from pytest_robust.diagnosis.subject import Subject
from pytest_robust.errors import AttackError

#: From logits (n, K) and labels (n,) to a value per image that an attack raises.
Loss = Callable[[Tensor, Tensor], Tensor]
#: Half of the side of the cube in which predictions are looked at, and how many points of it (Pintor et al. 2022).
RADIUS, POINTS = 4 / 255, 100
#: How much the loss may change there, on average (ours; the paper reports the value and sets no limit).
MOST_CHANGE = 0.1
#: A step of so much of ε on either side tells the slope (ours).
SLOPE_STEP = 1 / 50
#: The loss must rise by what the gradient promises within this factor, on all but this share of the images (ours).
FACTOR, MOST_DISAGREEING = 2.0, 0.1


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """The cross-entropy of each image."""
    return F.cross_entropy(logits, y, reduction="none")


def margin_loss(logits: Tensor, y: Tensor) -> Tensor:
    """The largest other logit minus the label's."""
    return -margin(logits, y)


def values_of(subject: Subject, x: Tensor, y: Tensor, loss: Loss) -> Tensor:
    """The loss of each image, differentiable; a rejection counts as the label. `x` and `y` are on the device."""
    logits = subject.surface(x)
    return loss(rejection_counts_as(logits, y) if subject.surface.rejects else logits, y)


def input_gradient(subject: Subject, x: Tensor, y: Tensor, loss: Loss) -> Tensor:
    """Gradient of the loss with respect to `x`, on the CPU; call it inside `undisturbed`.

    Raises:
        NotApplicable: the surface cannot be differentiated.
    """
    parts, size = [], subject.batch
    for images, labels in zip(x.split(size), y.split(size), strict=True):
        at = images.to(subject.surface.device).requires_grad_()
        with torch.enable_grad():
            total = values_of(subject, at, labels.to(at.device), loss).sum()
            gradient = torch.autograd.grad(total, at, allow_unused=True)[0] if total.requires_grad else None
        if gradient is None:
            raise NotApplicable(f"{subject.surface.name} has no gradient.")
        parts.append(gradient.cpu())
    return torch.cat(parts)


def gradient_available(subject: Subject) -> Finding:
    """Whether the gradients of the attack's loss, the cross-entropy and the margin are there, finite and not zero."""
    _needs_gradients(subject)
    images = subject.images
    starts = Split(random_starts(subject, images.x), images.y, images.num_classes, images.name)
    shares: dict[str, float] = {}
    try:
        with subject.undisturbed():
            attack = subject.attack.build(subject.surface, seed=subject.seed)
            for place, at in (("at the image", images), ("at a random start", starts)):
                zero = zero_gradient_share(subject.surface, at.x, at.y, attack=attack, goal=_goal(subject, at))
                shares[f"attack's loss, {place}"] = zero
                for name, loss in (("cross-entropy", cross_entropy), ("margin", margin_loss)):
                    shares[f"{name}, {place}"] = _unusable(input_gradient(subject, at.x, at.y, loss))
    except torch.cuda.OutOfMemoryError:
        raise
    except (AttackError, NotApplicable, RuntimeError) as error:
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        sentence = f"The gradient is interrupted: {text.rstrip('.')}; or give it a backward pass (BPDA)."
        return Finding(True, sentence, len(images))
    worst = max(shares, key=lambda name: shares[name])
    if shares[worst] == 0:
        return Finding(False, f"No gradient is zero or not finite on {len(images)} images.", len(images), shares)
    own = max(share for name, share in shares.items() if name.startswith("attack's"))
    sentence = (
        f"The gradient is zero or not finite on {shares[worst]:.0%} of {len(images)} images ({worst}; of the attack's "
        f"loss: {own:.0%}): such images are not attacked at all by who climbs this loss, so attack the margin, undo "
        "the saturation, or attack gradient-free."
    )
    return Finding(True, sentence, len(images), shares, None if own else Severity.WARNING)


def _goal(subject: Subject, at: Split) -> Tensor:
    """What the attack is given: labels, or targets where it is targeted."""
    targets = targets_for(subject.attack, subject.surface, at)
    return at.y if targets is None else targets


def _unusable(gradient: Tensor) -> float:
    """The share of images whose gradient is zero, or not finite."""
    flat = gradient.flatten(1)
    return float(((flat == 0).all(1) | ~torch.isfinite(flat).all(1)).float().mean())


def gradient_agreement(subject: Subject) -> Finding:
    """Whether the loss rises along the gradient by what the gradient promises, a little way around a random start."""
    _needs_gradients(subject)
    eps, order = budget(subject)
    images, h = subject.few, eps * SLOPE_STEP
    with subject.undisturbed():
        at = random_starts(subject, images.x).clamp(min(h, 0.5), max(1 - h, 0.5))
        gradient = input_gradient(subject, at, images.y, margin_loss)
        step = steepest(gradient, 2.0 if order == 1 else order) * h
        promised = 2 * (gradient * step).flatten(1).sum(1)
        observed = values(subject, at + step, images.y) - values(subject, at - step, images.y)
    ratio = observed / promised
    # A gradient of zero promises nothing, and `gradient_available` tells of it.
    counted = promised != 0
    if not bool(counted.any()):
        raise NotApplicable(f"The gradient is zero on all {len(images)} images.")
    disagree = ~((ratio > 1 / FACTOR) & (ratio < FACTOR)) & counted
    share, n = float(disagree.sum() / counted.sum()), int(counted.sum())
    figures = {"disagreeing": share, "median_ratio": float(ratio[counted].median())}
    if share <= MOST_DISAGREEING:
        return Finding(False, f"The loss rises as its gradient promises on {1 - share:.0%} of {n} images.", n, figures)
    sentence = (
        f"The loss does not rise as its gradient promises on {share:.0%} of {n} images (a step of "
        f"ε/{1 / SLOPE_STEP:.0f}): the gradient is shattered or a stand-in (BPDA); smooth it, take the mean of "
        "several, or attack gradient-free as well."
    )
    return Finding(True, sentence, n, figures)


def unstable_predictions(subject: Subject) -> Finding:
    """How much the loss changes from an image to points very near it."""
    images = subject.few
    with subject.undisturbed():
        here = values(subject, images.x, images.y)
        scale = here.abs().where(here != 0, torch.ones_like(here))
        changes = torch.zeros_like(here)
        for noise in Noise(subject.seed, POINTS).draw(images.x, RADIUS, float("inf")):
            there = values(subject, (images.x + noise).clamp(0, 1), images.y)
            changes += (there - here).abs() / scale / POINTS
    change = float(changes.clamp(max=1).mean())
    figures = {"relative_change": change}
    if change <= MOST_CHANGE:
        sentence = f"The loss changes by {change:.1%} in the mean around {len(images)} images (±4/255)."
        return Finding(False, sentence, len(images), figures)
    sentence = (
        f"The loss changes by {change:.0%} in the mean at {POINTS} random points around each of {len(images)} images "
        "(±4/255): so noisy a loss leads gradients astray; average them over random points, or attack gradient-free."
    )
    return Finding(True, sentence, len(images), figures)


def values(subject: Subject, x: Tensor, y: Tensor) -> Tensor:
    """The margin loss of each image, without gradients, on the CPU."""
    device, size = subject.surface.device, subject.batch
    with torch.no_grad():
        parts = [
            values_of(subject, images.to(device), labels.to(device), margin_loss).cpu()
            for images, labels in zip(x.split(size), y.split(size), strict=True)
        ]
    return torch.cat(parts)


def random_starts(subject: Subject, x: Tensor) -> Tensor:
    """A random point of each image's ball; of a small cube where the attack has no budget."""
    try:
        eps, order = budget(subject)
    except NotApplicable:
        eps, order = RADIUS, float("inf")
    return (x + Noise(subject.seed, 1).draw(x, eps, order)[0]).clamp(0, 1)


def _needs_gradients(subject: Subject) -> None:
    if subject.attack.gradient_calls == 0:
        raise NotApplicable(f"{subject.attack.name} asks for no gradient.")
