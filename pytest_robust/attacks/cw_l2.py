"""Carlini and Wagner's L2 attack: the smallest perturbation that wins with a margin.

Carlini & Wagner 2017, https://arxiv.org/abs/1608.04644.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, ClassVar

import torch
from torch import Tensor

from pytest_robust.attacks.base import TorchAttack
from pytest_robust.attacks.geometry import per_image
from pytest_robust.attacks.objectives import margin
from pytest_robust.errors import AttackError

#: Keeps the arctangent of black and white pixels finite.
INSIDE = 1 - 1e-6
#: Added to the margin that is asked for, so that another batch size does not undo a success at the boundary.
SLACK = 1e-4
#: Beyond this, c counts as unbounded.
UNBOUNDED = 1e10
#: A look finds the loss flat if it is not below this share of what it was at the look before.
PLATEAU = 0.9999
#: So many flat looks in a row end the search of an image. One is too few, as Adam swings about the boundary: on MNIST,
#: leaving at the first saved 1 % of the passes and made perturbations 0.6 % larger (one image 13 %); leaving at the
#: third, they were the same as without leaving.
PATIENCE = 3
BETAS = (0.9, 0.999)


class CarliniWagnerL2(TorchAttack):
    """C&W in L2: minimise ‖x' − x‖² + c · max(0, κ − margin) over tanh space with Adam, c by binary search per image.

    The margin is the gap between the largest wrong logit and the label's (targeted: between the target's logit and the
    largest other one). Per image, it returns the smallest perturbation that was seen to reach the margin κ, or the
    clean image if none did. It looks at the loss ten times for each c; an image on which it was flat three times in a
    row leaves the batch until the next c.

    Args:
        estimator: as in `TorchAttack`.
        confidence: κ, in logits.
        targeted: reach `y` instead of leaving it.
        learning_rate: of Adam.
        binary_search_steps: values of c that are tried.
        max_iter: steps of Adam for each c, at most.
        initial_const: first c.
        batch_size: images per evaluation of the model.
        seed: unused, as nothing in it is random.
    """

    own_objective: ClassVar[bool] = True
    attack_params: ClassVar[list[str]] = [
        "confidence",
        "learning_rate",
        "binary_search_steps",
        "max_iter",
        "initial_const",
        *TorchAttack.attack_params,
    ]

    def __init__(
        self,
        estimator: Any,
        confidence: float = 0.0,
        targeted: bool = False,
        learning_rate: float = 0.01,
        binary_search_steps: int = 10,
        max_iter: int = 10,
        initial_const: float = 0.01,
        batch_size: int = 64,
        seed: int = 0,
    ) -> None:
        super().__init__(estimator, targeted=targeted, batch_size=batch_size, seed=seed)
        if confidence < 0 or learning_rate <= 0 or binary_search_steps < 1 or max_iter < 1 or initial_const <= 0:
            raise AttackError(
                "CarliniWagnerL2 needs confidence >= 0, learning_rate > 0, binary_search_steps >= 1, max_iter >= 1 "
                f"and initial_const > 0, not {confidence}, {learning_rate}, {binary_search_steps}, {max_iter} and "
                f"{initial_const}."
            )
        self.confidence, self.learning_rate, self.initial_const = confidence, learning_rate, initial_const
        self.binary_search_steps, self.max_iter = binary_search_steps, max_iter

    def _attack(self, x: Tensor, y: Tensor) -> Tensor:
        best = _Best(x.clone(), torch.full((len(x),), float("inf"), device=x.device))
        const = torch.full((len(x),), self.initial_const, device=x.device)
        lower, upper = torch.zeros_like(const), torch.full_like(const, UNBOUNDED)
        for _ in range(self.binary_search_steps):
            won = self._search(x, y, const, best)
            upper = torch.where(won, torch.minimum(upper, const), upper)
            lower = torch.where(won, lower, torch.maximum(lower, const))
            const = torch.where(upper < UNBOUNDED, (lower + upper) / 2, const * 10)
        return best.x

    def _search(self, x: Tensor, y: Tensor, const: Tensor, best: _Best) -> Tensor:
        """Run Adam with one c per image, improving `best`; bool of shape (N,): which images reached the margin."""
        won = torch.zeros_like(y, dtype=torch.bool)
        search = _Search.start(x, y, const, best)
        look = max(1, self.max_iter // 10)
        for step in range(1, self.max_iter + 1):
            gradient = self._evaluate(search)
            if step == self.max_iter:
                break
            if step % look == 0:
                falling = search.falling()
                search.report(best, won)
                search, gradient = search.keep(falling), gradient[falling]
                if len(search.rows) == 0:
                    break
            search.descend(gradient, self.learning_rate, step)
        search.report(best, won)
        return won

    def _evaluate(self, search: _Search) -> Tensor:
        """Look at the current images, note successes, and return the gradient of the loss in tanh space."""
        tanh = torch.tanh(search.origin + search.shift)
        image = (tanh + 1) / 2
        delta = image - search.x
        _, hinge, gradient = self.value_and_gradient(image, search.y, self._hinge)
        distance = delta.flatten(1).square().sum(1)
        search.note(image, distance, hinge)
        weighted = per_image(search.const, gradient) * gradient
        return (2 * delta + weighted) * (1 - tanh.square()) / 2

    def _hinge(self, logits: Tensor, y: Tensor) -> Tensor:
        lead = margin(logits, y) if self.targeted else -margin(logits, y)
        return (self.confidence + SLACK - lead).clamp_min(0)


@dataclass
class _Best:
    """Per image of the pool the smallest success so far and its squared L2 distance."""

    x: Tensor
    distance: Tensor


@dataclass
class _Search:
    """The images that are still being searched: one row each, in every field."""

    rows: Tensor  #: their places in the pool
    x: Tensor
    y: Tensor
    const: Tensor
    origin: Tensor  #: the clean image in tanh space
    shift: Tensor  #: what Adam moves
    mean: Tensor
    square: Tensor
    best_x: Tensor
    best_distance: Tensor
    won: Tensor
    lowest: Tensor  #: smallest loss so far
    at_last_look: Tensor  #: what it was at the last look
    flat_looks: Tensor  #: how many looks in a row have found it flat

    @classmethod
    def start(cls, x: Tensor, y: Tensor, const: Tensor, best: _Best) -> _Search:
        zeros = torch.zeros_like(x)
        return cls(
            rows=torch.arange(len(x), device=x.device),
            x=x,
            y=y,
            const=const,
            origin=((x * 2 - 1) * INSIDE).atanh(),
            shift=zeros,
            mean=zeros.clone(),
            square=zeros.clone(),
            best_x=best.x,
            best_distance=best.distance,
            won=torch.zeros_like(y, dtype=torch.bool),
            lowest=torch.full_like(const, float("inf")),
            at_last_look=torch.full_like(const, float("inf")),
            flat_looks=torch.zeros_like(y),
        )

    def note(self, image: Tensor, distance: Tensor, hinge: Tensor) -> None:
        """Remember successes that are smaller than what was known, and the smallest loss."""
        reached = hinge == 0
        better = reached & (distance < self.best_distance)
        self.won = self.won | reached
        self.best_x = torch.where(per_image(better, image), image, self.best_x)
        self.best_distance = torch.where(better, distance, self.best_distance)
        self.lowest = torch.minimum(self.lowest, distance + self.const * hinge)

    def falling(self) -> Tensor:
        """Bool per row: whether the loss has fallen lately."""
        flat = self.lowest > PLATEAU * self.at_last_look
        self.flat_looks = torch.where(flat, self.flat_looks + 1, 0)
        self.at_last_look = self.lowest
        return self.flat_looks < PATIENCE

    def descend(self, gradient: Tensor, learning_rate: float, step: int) -> None:
        """One step of Adam (Kingma & Ba 2015); all rows have taken the same number."""
        self.mean.lerp_(gradient, 1 - BETAS[0])
        self.square.mul_(BETAS[1]).addcmul_(gradient, gradient, value=1 - BETAS[1])
        size = (self.square / (1 - BETAS[1] ** step)).sqrt_().add_(1e-8)
        self.shift.addcdiv_(self.mean, size, value=-learning_rate / (1 - BETAS[0] ** step))

    def keep(self, rows: Tensor) -> _Search:
        """Only the rows where the mask `rows` is true."""
        return _Search(**{each.name: getattr(self, each.name)[rows] for each in fields(self)})

    def report(self, best: _Best, won: Tensor) -> None:
        """Write what these rows found to their places in the pool."""
        best.x[self.rows] = self.best_x
        best.distance[self.rows] = self.best_distance
        won[self.rows] = self.won
