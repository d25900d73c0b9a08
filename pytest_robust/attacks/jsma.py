"""JSMA: the pair of pixels that helps the target most and hurts it least, again and again.

Papernot et al. 2016, The Limitations of Deep Learning in Adversarial Settings, https://arxiv.org/abs/1511.07528,
Algorithms 2 and 3 and equations 8 to 10. ART's picks the two values with the largest gradients of the target's logit
and looks at no other class.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from pytest_robust.attacks.base import TorchAttack
from pytest_robust.errors import AttackError

#: Scores of pairs that are held at once: 16 MiB.
BLOCK = 1 << 22


class SaliencyMap(TorchAttack):
    """Jacobian-based saliency map attack with pairs of values, as its paper defines it.

    With Z the logits (as the paper advises), t the target, and αᵢ = ∂Zₜ/∂xᵢ, βᵢ = Σ_{j≠t} ∂Zⱼ/∂xᵢ, each step changes by
    θ the pair p, q that maximises −(αₚ + α_q)(βₚ + β_q) among those with αₚ + α_q > 0 > βₚ + β_q (for θ < 0 with all
    signs turned). A value at the end of [0, 1] leaves the search. An image is finished when it reaches the target (the
    untargeted attack: when it leaves its label), and given up when no pair qualifies or the next one would take it
    beyond γ; it is then returned as the last step left it. Finished images leave the batch.

    Untargeted, the target of an image is its most likely wrong class on the clean image.

    Args:
        estimator: as in `TorchAttack`.
        theta: θ, what is added to a value in a step, in units of [0, 1] images; the paper's is 1.
        gamma: γ, the largest share of the C · H · W values that are changed, in (0, 1]; the paper's is 0.145.
        targeted: reach `y` instead of leaving it.
        batch_size: images per evaluation of the model.
        seed: unused, as nothing in it is random.
    """

    own_objective: ClassVar[bool] = True
    attack_params: ClassVar[list[str]] = ["theta", "gamma", *TorchAttack.attack_params]

    def __init__(
        self,
        estimator: Any,
        theta: float = 0.1,
        gamma: float = 1.0,
        targeted: bool = False,
        batch_size: int = 64,
        seed: int = 0,
    ) -> None:
        super().__init__(estimator, targeted=targeted, batch_size=batch_size, seed=seed)
        if theta == 0 or not abs(theta) <= 1 or not 0 < gamma <= 1:
            raise AttackError(
                f"SaliencyMap needs theta in [-1, 1] but not 0, and gamma in (0, 1], not {theta} and {gamma}."
            )
        self.theta, self.gamma = theta, gamma

    def _attack(self, x: Tensor, y: Tensor) -> Tensor:
        state = _State(x.flatten(1).clone(), torch.zeros_like(x.flatten(1), dtype=torch.bool))
        targets = y if self.targeted else self._likeliest_wrong(x, y)
        active = torch.arange(len(x), device=x.device)
        while len(active):
            parts = [self._steps(state, x.shape[1:], y, targets, rows) for rows in active.split(self.batch_size)]
            active = torch.cat(parts)
        return state.x.view_as(x)

    def _likeliest_wrong(self, x: Tensor, y: Tensor) -> Tensor:
        return self.answers(x, y).scatter(1, y[:, None], float("-inf")).argmax(1)

    def _steps(self, state: _State, shape: torch.Size, y: Tensor, targets: Tensor, rows: Tensor) -> Tensor:
        """Change one pair in each of `rows` that is not finished, and return those that may go on."""
        images = state.x[rows].view(-1, *shape).requires_grad_()
        logits = self.understood(self.model(images), y[rows])
        finished = (logits.argmax(1) == y[rows]) == self.targeted
        if bool(finished.all()):
            return rows[:0]
        alpha, beta = self._slopes(images, logits, targets[rows])
        rows, alpha, beta = rows[~finished], alpha[~finished], beta[~finished]
        sign = 1.0 if self.theta > 0 else -1.0
        movable = state.x[rows] < 1 if sign > 0 else state.x[rows] > 0
        pairs, found = best_pairs(sign * alpha, -sign * beta, movable)
        affordable = state.touched[rows].scatter(1, pairs, True).sum(1) <= self.gamma * state.x.shape[1]
        go = found & affordable
        state.change(rows[go], pairs[go], self.theta)
        return rows[go]

    def _slopes(self, images: Tensor, logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """αᵢ and βᵢ of each value, of shape (n, C·H·W): two backward passes, however many classes there are."""
        own = logits.gather(1, targets[:, None]).sum()
        others = logits.scatter(1, targets[:, None], 0.0).sum()
        (alpha,) = torch.autograd.grad(own, images, retain_graph=True)
        (beta,) = torch.autograd.grad(others, images)
        self._broken |= alpha.isnan().any() | beta.isnan().any()
        return alpha.flatten(1), beta.flatten(1)


@dataclass
class _State:
    """The images of a pool as rows of values, and which values have been changed."""

    x: Tensor
    touched: Tensor

    def change(self, rows: Tensor, pairs: Tensor, theta: float) -> None:
        at = rows[:, None], pairs
        self.x[at] = (self.x[at] + theta).clamp_(0, 1)
        self.touched[at] = True


def best_pairs(gain: Tensor, relief: Tensor, allowed: Tensor) -> tuple[Tensor, Tensor]:
    """For each image the two values p ≠ q with the largest product (gainₚ + gain_q)(reliefₚ + relief_q), exactly.

    The product rises with both sums, so a value p can be exchanged for any other that has at least its gain and its
    relief, unless that is q. Some best pair therefore holds no value to which two others are that superior, and only
    the few values with at most one superior are paired. Rounding is monotone, so this is exact in float32 too.

    Args:
        gain: float32 of shape (N, D).
        relief: float32 of shape (N, D).
        allowed: bool of shape (N, D): the values that may be used.

    Returns:
        Pairs, int64 of shape (N, 2), and bool of shape (N,): whether a pair with both sums positive exists.
    """
    positions, gain, relief = _candidates(_scaled(gain, allowed), _scaled(relief, allowed))
    places, best = _best_places(gain, relief)
    return positions.gather(1, places), best > 0


def _scaled(values: Tensor, allowed: Tensor) -> Tensor:
    """Values of the size of one, so that a product of two tiny sums is not zero; -inf where they are not allowed."""
    largest = torch.where(allowed, values.abs(), 0.0).amax(1, keepdim=True)
    return torch.where(allowed, values / torch.where(largest > 0, largest, 1.0), float("-inf"))


def _candidates(gain: Tensor, relief: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The values to which at most one other is superior: positions, gains and reliefs, of shape (N, M) each.

    M is the largest number of them in an image, at least 2; what fills up the others' rows is of -inf.
    """
    gain, order = gain.sort(dim=1, descending=True, stable=True)
    relief = relief.gather(1, order)
    highest = _before(relief.cummax(1).values)
    second = _before(torch.minimum(relief, highest).cummax(1).values)
    chosen = relief > second
    width = max(2, int(chosen.sum(1).max())) if len(chosen) else 2
    first = (~chosen).to(torch.uint8).argsort(dim=1, stable=True)[:, :width]
    keep = chosen.gather(1, first)
    floor = torch.full_like(gain[:, :1], float("-inf"))
    return (
        order.gather(1, first),
        torch.where(keep, gain.gather(1, first), floor),
        torch.where(keep, relief.gather(1, first), floor),
    )


def _before(running: Tensor) -> Tensor:
    """A running maximum along each row, as it was before the value itself."""
    return torch.cat([torch.full_like(running[:, :1], float("-inf")), running[:, :-1]], 1)


def _best_places(gain: Tensor, relief: Tensor) -> tuple[Tensor, Tensor]:
    """Places of the best pair among (N, M) candidates, and its product; -1 where none has two positive sums."""
    n, width = gain.shape
    best, places = gain.new_full((n,), -1.0), torch.zeros(n, 2, dtype=torch.int64, device=gain.device)
    for firsts in torch.arange(width, device=gain.device).split(max(1, BLOCK // max(1, n * width))):
        a = gain[:, firsts, None] + gain[:, None, :]
        c = relief[:, firsts, None] + relief[:, None, :]
        score = torch.where((a > 0) & (c > 0), a * c, -1.0)
        score[:, torch.arange(len(firsts), device=gain.device), firsts] = -1.0
        highest, place = score.flatten(1).max(1)
        better = highest > best
        pair = torch.stack([firsts[place // width], place % width], 1)
        places = torch.where(better[:, None], pair, places)
        best = torch.where(better, highest, best)
    return places, best
