"""Budgets: the same attack at another ε, the norm's largest ε, and random points that just keep to ε."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pytest_robust.attacks.attack import NORMS, Attack
from pytest_robust.attacks.geometry import Noise, steepest
from pytest_robust.diagnosis.check import NotApplicable
from pytest_robust.diagnosis.subject import Subject

ORDERS = {"linf": math.inf, "l2": 2.0, "l1": 1.0}
#: ART's names of norms, by ours.
ARGUMENTS = {norm: "inf" if name == "inf" else int(name) for name, norm in NORMS.items()}


def budget(subject: Subject) -> tuple[float, float]:
    """The attack's ε and the order of its norm.

    Raises:
        NotApplicable: it has no budget, or one in a norm without balls.
    """
    attack = subject.attack
    if attack.eps is None or attack.norm not in ORDERS:
        raise NotApplicable(f"{attack.name} has no budget ε in L∞, L2 or L1.")
    return attack.eps, ORDERS[attack.norm]


def largest(subject: Subject) -> float:
    """The budget that any image of the box reaches any other with."""
    size = math.prod(subject.split.input_shape)
    return {math.inf: 1.0, 2.0: math.sqrt(size), 1.0: float(size)}[budget(subject)[1]]


def with_budget(attack: Attack, eps: float) -> Attack:
    """The same attack with another ε; its steps grow with it, as otherwise they would not get there."""
    changes: dict[str, float] = {"eps": eps}
    if isinstance(attack.params.get("eps_step"), (int, float)) and attack.eps:
        changes["eps_step"] = attack.params["eps_step"] * (eps / attack.eps)
    return attack.configured(**changes)


def on_the_edge(x: Tensor, eps: float, order: float, seed: int) -> Tensor:
    """A random point at distance ε of each image, in [0, 1]: a corner of the ball for L∞, on its surface for L2, L1.

    A value that would leave the box moves the other way, so that hardly anything is lost at the box's edge.
    """
    noise = Noise(seed, 1).draw(x, eps, order)[0]
    delta = steepest(noise, order) if order != 1 else noise / noise.flatten(1).abs().sum(1).view(-1, 1, 1, 1)
    delta = delta * eps
    outside = (x + delta < 0) | (x + delta > 1)
    return (x + torch.where(outside, -delta, delta)).clamp(0, 1)
