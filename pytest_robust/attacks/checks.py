"""What an attack's output must be, whoever made the attack: shape, dtype, range, and inside the budget's ball."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from pytest_robust.attacks.attack import Attack
from pytest_robust.attacks.batching import comfortable_batch
from pytest_robust.attacks.isolation import frozen
from pytest_robust.attacks.objectives import rejection_counts_as, runner_up
from pytest_robust.errors import AttackError
from pytest_robust.models.classifier import Classifier

#: Rounding that an attack in float32 may leave over its budget: relative, and absolute.
RELATIVE, ABSOLUTE = 1e-4, 1e-6
#: Images on which the surface's gradient is looked at: enough to see masking, cheap beside the attack. They are drawn
#: at random, as images are often sorted by class and a mask can lie on some classes alone; always by the same seed, so
#: that the same images give the same share.
GRADIENT_SAMPLE, SAMPLE_SEED = 256, 9_000_003


def check_output(attack: Attack, clean: Tensor, perturbed: object) -> None:
    """Raise AttackError, naming the attack and the first bad image, unless `perturbed` keeps the contract.

    Args:
        attack: with its norm and budget ε.
        clean: float32 of shape (N, C, H, W), in [0, 1].
        perturbed: what the attack returned.
    """
    if not isinstance(perturbed, Tensor) or perturbed.shape != clean.shape or perturbed.dtype != torch.float32:
        got = (
            f"{perturbed.dtype} of shape {tuple(perturbed.shape)}"
            if isinstance(perturbed, Tensor)
            else type(perturbed).__name__
        )
        raise AttackError(f"the attack {attack.title} returned {got} instead of float32 of shape {tuple(clean.shape)}.")
    flat = perturbed.flatten(1)
    _refuse(attack, ~torch.isfinite(flat).all(1), "is not finite")
    _refuse(attack, ((flat < -ABSOLUTE) | (flat > 1 + ABSOLUTE)).any(1), "leaves [0, 1]")
    if attack.eps is not None and attack.norm is not None:
        order = {"linf": float("inf"), "l2": 2.0, "l1": 1.0, "l0": 0.0}[attack.norm]
        size = torch.linalg.vector_norm((perturbed - clean).flatten(1), order, dim=1)
        beyond = size > attack.eps * (1 + RELATIVE) + ABSOLUTE
        _refuse(attack, beyond, f"is farther than eps={attack.eps:g} in {attack.norm} from its original")


def _refuse(attack: Attack, bad: Tensor, what: str) -> None:
    if bool(bad.any()):
        first = int(bad.nonzero()[0])
        raise AttackError(
            f"the attack {attack.title} returned {int(bad.sum())} of {len(bad)} images that cannot be: image {first} "
            f"{what}; the attack is broken, so nothing is judged by it."
        )


def climbed(surface: Classifier, images: Tensor, labels: Tensor) -> Tensor:
    """What untargeted attacks of this package climb, a differentiable value per image: the surface's loss, if any."""
    if surface.attack_loss is not None:
        return surface.attack_loss(images, labels, False)[1]
    logits = surface(images)
    return runner_up(rejection_counts_as(logits, labels) if surface.rejects else logits, labels)


def zero_gradient_share(
    surface: Classifier, x: Tensor, y: Tensor, *, attack: Any = None, goal: Tensor | None = None
) -> float:
    """The share of images that an attack gets no gradient for: exactly zero, on a random sample of fixed seed.

    Args:
        surface: what is differentiated.
        x: images, float32 of shape (N, C, H, W), in [0, 1].
        y: true labels, int64 of shape (N,).
        attack: built for the surface; its own losses count too where it has any (`Adapted.own_gradients`).
        goal: what `attack` is given, labels or targets; `y` by default.

    Raises:
        AttackError: the gradient is NaN or infinite, or the surface cannot be differentiated.
    """
    if len(x) == 0:
        return 0.0
    rows = torch.randperm(len(x), generator=torch.Generator().manual_seed(SAMPLE_SEED))[:GRADIENT_SAMPLE].to(x.device)
    parts = (x[rows], y[rows], (y if goal is None else goal)[rows])
    size = comfortable_batch(surface.input_shape, surface.device)
    own = getattr(attack, "own_gradients", None)
    with frozen(surface), torch.enable_grad():
        zero = [
            _is_zero(surface, images.to(surface.device), labels) | _any_zero(own, images, goals).to(surface.device)
            for images, labels, goals in zip(*(part.split(size) for part in parts), strict=True)
        ]
    return float(torch.cat(zero).float().mean())


def _any_zero(own: Callable[[Tensor, Tensor], list[Tensor]] | None, x: Tensor, goal: Tensor) -> Tensor:
    """Whether any of an attack's own gradients is exactly zero, bool of shape (n,)."""
    zero = torch.zeros(len(x), dtype=torch.bool)
    for gradient in [] if own is None else own(x, goal):
        zero |= (gradient.flatten(1) == 0).all(1)
    return zero


def _is_zero(surface: Classifier, x: Tensor, y: Tensor) -> Tensor:
    """Whether the gradient of each image is exactly zero, bool of shape (n,)."""
    images = x.detach().requires_grad_()
    objective = climbed(surface, images, y.to(surface.device)).sum()
    # None where a graph exists but does not reach the images: weights can hang on it alone.
    gradient = torch.autograd.grad(objective, images, allow_unused=True)[0] if objective.requires_grad else None
    if gradient is None:
        raise AttackError(
            f"the surface {surface.name!r} has no gradient: some operation in it detaches; attack it with a "
            "gradient-free attack (square, hopskipjump, boundary)."
        )
    if not bool(torch.isfinite(gradient).all()):
        raise AttackError(f"the surface {surface.name!r} has NaN or infinite gradients: find what divides by zero.")
    return (gradient.flatten(1) == 0).all(1)
