"""Square attack: random squares, kept where they lower the margin; it asks for no gradient.

Andriushchenko et al. 2020, https://arxiv.org/abs/1912.00049, Algorithms 1 to 3. Every image gets squares of its own
(ART's draws one for a whole batch).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import torch
from torch import Tensor

from pytest_robust.attacks.base import TorchAttack
from pytest_robust.attacks.draws import Numbered, uniform
from pytest_robust.attacks.geometry import TINY, length, norm_order, per_image
from pytest_robust.attacks.objectives import margin, runner_up
from pytest_robust.errors import AttackError

#: The paper's schedule (its section 5) for 10,000 iterations: p is halved after each of these.
HALVED_AFTER = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
#: A square that changes no value by more than this is drawn again, as in the authors' code.
UNCHANGED = 1e-7
#: The numbers of an iteration: two corners, a shape, and then a sign per channel.
CORNER, OTHER_CORNER, SHAPE, SIGNS = slice(0, 2), slice(2, 4), 4, slice(5, None)
#: Numbers are drawn for so many iterations at once: drawing them costs as much for a hundred as for one.
DRAWN_AHEAD = 64


class Square(Numbered):
    """Square attack in L∞ and L2, by margins alone.

    A square is kept where it lowers f_y − max_{k≠y} f_k (targeted: where it lowers the cross-entropy of the target).
    An image is finished as soon as it fools the model and leaves the batch; one that fools it as it is comes back
    unchanged, and one that no restart breaks comes back with the lowest loss seen.

    Args:
        estimator: as in `TorchAttack`.
        norm: ``"inf"`` (or ``np.inf``) or 2.
        eps: radius of the ball, in units of [0, 1] images.
        max_iter: times that an image is evaluated in each restart, the starting stripes (L2: tiles) included.
        p_init: share of the pixels in the first squares; the schedule lowers it as in the paper, scaled to `max_iter`.
        nb_restarts: number of starts; a further one attacks only what is still robust.
        targeted: reach `y` instead of leaving it.
        batch_size: images per evaluation of the model.
        seed: of every draw.
    """

    attack_params: ClassVar[list[str]] = [
        "norm",
        "eps",
        "max_iter",
        "p_init",
        "nb_restarts",
        *TorchAttack.attack_params,
    ]

    def __init__(
        self,
        estimator: Any,
        norm: float | str = "inf",
        eps: float = 0.3,
        max_iter: int = 100,
        p_init: float = 0.8,
        nb_restarts: int = 1,
        targeted: bool = False,
        batch_size: int = 128,
        seed: int = 0,
    ) -> None:
        super().__init__(estimator, targeted=targeted, batch_size=batch_size, seed=seed)
        if eps <= 0 or max_iter < 1 or not 0 < p_init <= 1 or nb_restarts < 1:
            raise AttackError(
                f"Square needs eps > 0, max_iter >= 1, 0 < p_init <= 1 and nb_restarts >= 1, not {eps}, {max_iter}, "
                f"{p_init} and {nb_restarts}."
            )
        if norm_order(norm) == 1:
            raise AttackError("Square works in L∞ and L2, not in L1.")
        self.norm, self.eps, self.max_iter = norm, eps, max_iter
        self.p_init, self.nb_restarts = p_init, nb_restarts

    def _attack_numbered(self, x: Tensor, y: Tensor, numbers: Tensor) -> Tensor:
        best, loss, fooled = x.clone(), *self._asked(x, y)
        # The clean image is the answer only where it fools the model: otherwise any point of the ball is better.
        loss = loss.masked_fill(~fooled, float("inf"))
        for restart in range(self.nb_restarts):
            rows = (~fooled).nonzero()[:, 0]
            if len(rows) == 0:
                break
            found, found_loss, won = self._search(x[rows], y[rows], numbers[rows], restart)
            better = won | (found_loss < loss[rows])
            best[rows[better]], loss[rows[better]] = found[better], found_loss[better]
            fooled[rows] = won
        return best

    def _search(self, x: Tensor, y: Tensor, numbers: Tensor, restart: int) -> tuple[Tensor, Tensor, Tensor]:
        """One restart: best points, their losses, and whether they fool the model."""
        squares = _LInf(self.eps) if norm_order(self.norm) != 2 else _L2(self.eps)
        per_start, per_iteration = squares.start_draws(x), 5 + x.shape[1]
        start = squares.start(x, uniform(self.seed, (restart, 0), numbers, per_start))
        best, losses, fooled = start.clone(), *self._asked(start, y)
        rows = (~fooled).nonzero()[:, 0]
        for i in range(1, self.max_iter):
            if len(rows) == 0:
                break
            if (i - 1) % DRAWN_AHEAD == 0:
                drawn = uniform(self.seed, (restart, i), numbers[rows], DRAWN_AHEAD * per_iteration)
                drawn = drawn.view(len(rows), DRAWN_AHEAD, per_iteration)
            share = share_at(self.p_init, i - 1, self.max_iter)
            proposal = squares.propose(x[rows], best[rows], drawn[:, (i - 1) % DRAWN_AHEAD], share)
            loss, won = self._asked(proposal, y[rows])
            kept = won | (loss < losses[rows])
            best[rows[kept]], losses[rows[kept]] = proposal[kept], loss[kept]
            fooled[rows] = won
            rows, drawn = rows[~won], drawn[~won]
        return best, losses, fooled

    def _asked(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """The loss of each image, which the attack lowers, and whether it fools the model."""
        logits = self.answers(x, y)
        loss = runner_up(logits, y) if self.targeted else margin(logits, y)
        return loss, (logits.argmax(1) == y) == self.targeted


def share_at(p_init: float, iteration: int, iterations: int) -> float:
    """Share of the pixels in a square of this iteration: `p_init`, halved as the schedule says."""
    at = int(iteration / iterations * 10_000)
    return float(p_init / 2 ** sum(at > end for end in HALVED_AFTER))


@dataclass
class _Squares:
    """Where an attack starts and what it proposes next, from numbers that are uniform in [0, 1).

    Args:
        eps: radius of the ball.
    """

    eps: float

    def _corner(self, x: Tensor, side: int, drawn: Tensor) -> tuple[Tensor, Tensor]:
        """Top and left of a square inside the image, uniform, int64 of shape (N,) each."""
        height, width = x.shape[2:]
        return (drawn[:, 0] * (height - side + 1)).long(), (drawn[:, 1] * (width - side + 1)).long()


class _LInf(_Squares):
    """Algorithm 2: a square of constant ±ε per channel."""

    def start_draws(self, x: Tensor) -> int:
        """How many numbers `start` takes per image."""
        return x.shape[1] * x.shape[3]

    def start(self, x: Tensor, drawn: Tensor) -> Tensor:
        """Vertical stripes, one pixel wide, of ±ε."""
        return (x + self.eps * _sign(drawn).view(len(x), x.shape[1], 1, x.shape[3])).clamp_(0, 1)

    def propose(self, x: Tensor, best: Tensor, drawn: Tensor, share: float) -> Tensor:
        """`best` with one square set to x ± ε, and one that would change nothing drawn again."""
        n, channels, height, width = x.shape
        side = min(max(round((share * height * width) ** 0.5), 1), max(1, min(height, width) - 1))
        inside = _inside(x, *self._corner(x, side, drawn[:, CORNER]), side)
        sign = _sign(drawn[:, SIGNS]).view(n, channels, 1, 1)
        proposal = self._painted(x, best, inside, sign)
        stuck = (proposal - best).abs().flatten(1).amax(1) < UNCHANGED
        # In each channel one of the two signs at most changes nothing, so any other combination than the drawn one
        # changes something: each of them is as likely as it is when drawing again.
        combination = 1 + (drawn[:, SHAPE] * (2**channels - 1)).long()
        flipped = (combination[:, None] >> torch.arange(channels, device=x.device)) & 1
        other = torch.where(flipped.bool().view(n, channels, 1, 1), -sign, sign)
        return torch.where(per_image(stuck, x), self._painted(x, best, inside, other), proposal)

    def _painted(self, x: Tensor, best: Tensor, inside: Tensor, sign: Tensor) -> Tensor:
        return torch.where(inside, (x + self.eps * sign).clamp_(0, 1), best)


class _L2(_Squares):
    """Algorithm 3: mass moves from one square to another, which gets two bumps of opposite signs."""

    def start_draws(self, x: Tensor) -> int:
        """How many numbers `start` takes per image: per tile its direction and a sign per channel."""
        _, down, across = _tiles(x)
        return (1 + x.shape[1]) * down * across

    def start(self, x: Tensor, drawn: Tensor) -> Tensor:
        """Tiles of bumps, a fifth of the image wide, each with a sign per channel, of length ε in all."""
        n, channels, height, width = x.shape
        side, down, across = _tiles(x)
        per_tile = drawn.view(n, 1 + channels, down, 1, across, 1)
        bump = _bumps(side).to(x).view(1, 1, 1, side, 1, side)
        shape = torch.where(per_tile[:, :1] < 0.5, bump.transpose(3, 5), bump)
        mosaic = (_sign(per_tile[:, 1:]) * shape).reshape(n, channels, down * side, -1)
        delta = torch.zeros_like(x)
        top, left = (height - down * side) // 2, (width - across * side) // 2
        delta[:, :, top : top + down * side, left : left + across * side] = mosaic
        return self._filled(x, delta)

    def propose(self, x: Tensor, best: Tensor, drawn: Tensor, share: float) -> Tensor:
        """`best` with the mass of a second square, and what ε leaves, moved into a first one."""
        channels, height, width = x.shape[1:]
        side = _odd_side(share, height, width)
        delta = best - x
        corner = self._corner(x, side, drawn[:, CORNER])
        target, inside = _window(x, *corner, side).expand(-1, channels, -1), _inside(x, *corner, side)
        source = _inside(x, *self._corner(x, side, drawn[:, OTHER_CORNER]), side)
        bump = _bumps(side).to(x)
        turned = drawn[:, SHAPE, None, None] < 0.5
        shape = torch.where(turned, bump.T.reshape(1, 1, -1), bump.reshape(1, 1, -1))
        old = delta.flatten(2).gather(2, target)
        new = _sign(drawn[:, SIGNS, None]) * shape + old / (_norm(old) + TINY)
        unspent = (self.eps**2 - length(delta, 2.0).square()).clamp_min(0)[:, None, None] / channels
        mass = (unspent + (delta * (inside | source)).flatten(2).square().sum(2, keepdim=True)).sqrt()
        new = new / _norm(new).clamp_min(TINY) * mass
        moved = torch.where(source, 0.0, delta).flatten(2)
        return self._filled(x, moved.scatter(2, target, new).view_as(x))

    def _filled(self, x: Tensor, delta: Tensor) -> Tensor:
        """`delta` brought to length ε, added and clipped."""
        return (x + delta * per_image(self.eps / length(delta, 2.0).clamp_min(TINY), x)).clamp_(0, 1)


def _sign(drawn: Tensor) -> Tensor:
    return torch.where(drawn < 0.5, -1.0, 1.0)


def _tiles(x: Tensor) -> tuple[int, int, int]:
    """Side, number down and number across of the tiles that an L2 attack starts from."""
    height, width = x.shape[2:]
    side = max(1, min(height, width) // 5)
    return side, height // side, width // side


def _norm(values: Tensor) -> Tensor:
    size: Tensor = torch.linalg.vector_norm(values, dim=2, keepdim=True)
    return size


def _odd_side(share: float, height: int, width: int) -> int:
    """Side of an L2 square: odd and at least 3, as in the authors' code, and inside the image."""
    side = max(round((share * height * width) ** 0.5), 3)
    room = min(height, width)
    return int(min(side + (side % 2 == 0), room - (room % 2 == 0)))


def _inside(x: Tensor, top: Tensor, left: Tensor, side: int) -> Tensor:
    """Bool of shape (N, 1, H, W): the square of each image."""
    rows, columns = (torch.arange(size, device=x.device) for size in x.shape[2:])
    vertical = (rows >= top[:, None]) & (rows < top[:, None] + side)
    horizontal = (columns >= left[:, None]) & (columns < left[:, None] + side)
    return (vertical[:, :, None] & horizontal[:, None, :])[:, None]


def _window(x: Tensor, top: Tensor, left: Tensor, side: int) -> Tensor:
    """Positions of the square's pixels in the flattened image, row by row, int64 of shape (N, 1, side²)."""
    steps = torch.arange(side, device=x.device)
    rows, columns = top[:, None] + steps, left[:, None] + steps
    return (rows[:, :, None] * x.shape[3] + columns[:, None, :]).flatten(1)[:, None]


@lru_cache(maxsize=64)
def _bumps(side: int) -> Tensor:
    """Equation 2 of the paper: a bump above one of the opposite sign, of length one, of shape (side, side)."""
    upper = side // 2
    both: Tensor = torch.cat([_bump(upper, side), -_bump(side - upper, side)])
    both /= torch.linalg.vector_norm(both)
    return both


def _bump(height: int, width: int) -> Tensor:
    """Squares around the middle, the k-th of weight 1 / k², summed; of length one."""
    bump = torch.zeros(height, width)
    top, left = height // 2, width // 2
    for k in range(max(height // 2, width // 2) + 1):
        bump[max(top - k, 0) : top + k + 1, max(left - k, 0) : left + k + 1] += 1 / (k + 1) ** 2
    bump /= torch.linalg.vector_norm(bump).clamp_min(TINY)
    return bump
