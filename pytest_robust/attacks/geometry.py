"""Balls around images: the steepest step, the projection and a random point, for L∞, L2 and L1."""

from __future__ import annotations

import torch
from torch import Tensor

from pytest_robust.errors import AttackError

#: Guards divisions by the length of a gradient that is zero.
TINY = 1e-12


def norm_order(norm: float | str) -> float:
    """ART's way to name a norm (``np.inf``, ``"inf"``, 2, 1) as a float.

    Raises:
        AttackError: another norm.
    """
    try:
        order = float(norm)
    except ValueError:
        order = 0.0
    if order not in (1.0, 2.0, float("inf")):
        raise AttackError(f"the norm {norm!r} is none of 1, 2 and 'inf'.")
    return order


def per_image(values: Tensor, like: Tensor) -> Tensor:
    """`values` of shape (N,), shaped to multiply `like` of shape (N, C, H, W)."""
    return values.view(-1, *[1] * (like.ndim - 1))


def length(delta: Tensor, order: float) -> Tensor:
    """Norm of each image's `delta`, of shape (N,)."""
    size: Tensor = torch.linalg.vector_norm(delta.flatten(1), ord=order, dim=1)
    return size


def steepest(gradient: Tensor, order: float) -> Tensor:
    """The step of length one that rises fastest: the sign of `gradient` for L∞, its direction for L2."""
    if order == float("inf"):
        return gradient.sign()
    return gradient / per_image(length(gradient, order).clamp_min(TINY), gradient)


def steepest_l1(x: Tensor, gradient: Tensor, eps: float) -> Tensor:
    """The step from `x` of L1 length `eps` at most that rises fastest inside [0, 1].

    It spends the budget on the values with the largest gradients, moving each to the edge of the box before it turns
    to the next; the last gets what is left.
    """
    slope = gradient.flatten(1)
    room = torch.where(slope > 0, 1 - x.flatten(1), x.flatten(1)) * (slope != 0)
    order = slope.abs().argsort(dim=1, descending=True, stable=True)
    sorted_room = room.gather(1, order)
    left = (eps - (sorted_room.cumsum(1) - sorted_room)).clamp_min(0)
    moved = torch.zeros_like(slope).scatter(1, order, torch.minimum(sorted_room, left))
    return (moved * slope.sign()).view_as(x)


def project(delta: Tensor, eps: float, order: float) -> Tensor:
    """`delta` brought into the ball of radius `eps`: clamped for L∞, scaled down for L2 and L1."""
    if order == float("inf"):
        return delta.clamp(-eps, eps)
    return delta * per_image((eps / length(delta, order).clamp_min(TINY)).clamp_max(1.0), delta)


class Noise:
    """Random points of the ball, the same for an image whatever batch it is in.

    One generator per restart, on the CPU, drawn from in the order of the images: neither the size of the batches nor
    the device changes what an image gets.
    """

    def __init__(self, seed: int, restarts: int) -> None:
        self._generators = [torch.Generator().manual_seed(seed * 1_000_003 + r) for r in range(restarts)]

    def draw(self, like: Tensor, eps: float, order: float) -> list[Tensor]:
        """For each restart a point of the ball of radius `eps` for each image of `like`, in its shape."""
        return [self._ball(generator, like, eps, order) for generator in self._generators]

    @staticmethod
    def _ball(generator: torch.Generator, like: Tensor, eps: float, order: float) -> Tensor:
        n, size = len(like), like[0].numel() if len(like) else 0
        # Uniform draws alone: a generator's uniform stream does not depend on how it is cut, its normal one does.
        uniform = torch.rand(n, size + 1, generator=generator).to(like.device)
        signed = uniform[:, :size] * 2 - 1
        if order == float("inf"):
            return (signed * eps).view_as(like)
        direction = _direction(signed, order)
        radius = eps * uniform[:, size] ** (1 / max(size, 1))
        return (direction * (radius / length(direction, order).clamp_min(TINY))[:, None]).view_as(like)


def _direction(signed: Tensor, order: float) -> Tensor:
    """From uniform values in [-1, 1): normal ones for L2, Laplace ones for L1; normalised, uniform on the sphere."""
    inside = signed.clamp(-1 + 1e-6, 1 - 1e-6)
    if order == 2:
        return torch.erfinv(inside)
    return -inside.sign() * torch.log1p(-inside.abs())
