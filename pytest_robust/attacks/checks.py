"""What an attack's output must be, whoever made the attack: shape, dtype, range, and inside the budget's ball."""

from __future__ import annotations

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
#: Images on which the surface's gradient is looked at: enough to see masking, cheap beside the attack.
GRADIENT_SAMPLE = 256


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


def _loss(surface: Classifier, images: Tensor, labels: Tensor) -> Tensor:
    if surface.attack_loss is not None:
        return surface.attack_loss(images, labels, False)[1]
    logits = surface(images)
    return runner_up(rejection_counts_as(logits, labels) if surface.rejects else logits, labels)


def zero_gradient_share(surface: Classifier, x: Tensor, y: Tensor) -> float:
    """The share of images on which the surface's input gradient is exactly zero, of a sample of the first ones.

    Raises:
        AttackError: the gradient is NaN or infinite, or the surface cannot be differentiated.
    """
    images, labels = x[:GRADIENT_SAMPLE], y[:GRADIENT_SAMPLE]
    if len(images) == 0:
        return 0.0
    size = comfortable_batch(surface.input_shape, surface.device)
    with frozen(surface), torch.enable_grad():
        batches = zip(images.split(size), labels.split(size), strict=True)
        zero = [_is_zero(surface, batch.to(surface.device), batch_labels) for batch, batch_labels in batches]
    return float(torch.cat(zero).float().mean())


def _is_zero(surface: Classifier, x: Tensor, y: Tensor) -> Tensor:
    """Whether the gradient of each image is exactly zero, bool of shape (n,)."""
    images = x.detach().requires_grad_()
    objective = _loss(surface, images, y.to(surface.device)).sum()
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
