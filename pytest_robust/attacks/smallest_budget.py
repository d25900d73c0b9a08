"""The smallest strength that fools, per image: an ascending search along any attack whose strength is one number.

As in Monteiro et al. (Generalizable Adversarial Examples Detection Based on Bi-model Decision Mismatch): "the
distortion level is gradually increased up until the model makes a mistake, and this is independently repeated for each
image".
"""

from __future__ import annotations

import importlib
import inspect
import math
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import Any, ClassVar, cast

import torch
from torch import Tensor

from pytest_robust.attacks.base import TorchAttack
from pytest_robust.attacks.draws import Numbered
from pytest_robust.attacks.fgsm import FGSM
from pytest_robust.attacks.pgd import BIM, PGD
from pytest_robust.attacks.square import Square
from pytest_robust.errors import AttackError

#: From rows of the images that it was made for, int64 of shape (n,), and a strength to perturbed images of these rows.
Line = Callable[[Tensor, float], Tensor]


class LineSearch(Numbered):
    """Tries the strengths `largest` · k / `steps`, k = 1 … `steps`, in this order, and keeps the first that fools.

    Every strength is tried in turn, as success need not be monotone in it. An image that fools the model as it is comes
    back unchanged, and so does one that no strength fools. Finished images leave the batch.

    Args:
        estimator: as in `TorchAttack`.
        largest: last strength.
        steps: number of strengths; 1 tries `largest` alone.
        targeted: reach `y` instead of leaving it.
        batch_size: images per evaluation of the model.
        seed: of what is random on the line.

    Raises:
        AttackError: a strength that is not positive, or no steps.
    """

    attack_params: ClassVar[list[str]] = ["largest", "steps", *TorchAttack.attack_params]

    def __init__(
        self,
        estimator: Any,
        largest: float,
        steps: int,
        targeted: bool = False,
        batch_size: int = 64,
        seed: int = 0,
    ) -> None:
        super().__init__(estimator, targeted=targeted, batch_size=batch_size, seed=seed)
        if not 0 < largest < math.inf or steps < 1:
            raise AttackError(
                f"{type(self).__name__} needs 0 < largest < inf and steps >= 1, not {largest} and {steps}."
            )
        self.largest, self.steps = largest, steps

    def _attack_numbered(self, x: Tensor, y: Tensor, numbers: Tensor) -> Tensor:
        result = x.clone()
        rows = (~self._fools(x, y)).nonzero()[:, 0]
        if len(rows) == 0:
            return result
        lines = self._lines(x[rows], y[rows], numbers[rows])
        # Positions in `rows`, so that a line is drawn for the images that need one and no others.
        left = torch.arange(len(rows), device=x.device)
        for k, line in product(range(1, self.steps + 1), lines):
            made = line(left, self.largest * k / self.steps)
            fooled = self._fools(made, y[rows[left]])
            result[rows[left[fooled]]] = made[fooled]
            left = left[~fooled]
            if len(left) == 0:
                break
        return result

    def _fools(self, x: Tensor, y: Tensor) -> Tensor:
        reached = self.answers(x, y).argmax(1) == y
        return reached if self.targeted else ~reached

    def _lines(self, x: Tensor, y: Tensor, numbers: Tensor) -> Sequence[Line]:
        """The lines that are searched side by side: an image takes the first on which a strength fools."""
        return [self._line(x, y, numbers)]

    @abstractmethod
    def _line(self, x: Tensor, y: Tensor, numbers: Tensor) -> Line:
        """What the strengths run along, for these images."""


#: Steps of PGD and BIM where nothing else is said.
ARTS_MAX_ITER = 100


def _kurakin(eps: float, settings: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ARG001 (every rule has this shape)
    levels = round(eps * 255, 6)
    return {"eps_step": 1 / 255, "max_iter": math.ceil(min(levels + 4, 1.25 * levels))}


def _madry(eps: float, settings: Mapping[str, Any]) -> dict[str, Any]:
    return {"eps_step": 2.5 * eps / settings.get("max_iter", ARTS_MAX_ITER)}


#: Settings that follow from the strength, by the name of the rule.
RULES: Mapping[str, Callable[[float, Mapping[str, Any]], dict[str, Any]]] = {"kurakin": _kurakin, "madry": _madry}


#: The attacks that need no import path. A table of classes and not of registered names, so that the source of each is
#: part of what a cached result depends on.
KNOWN: Mapping[str, type[TorchAttack]] = {"fgsm": FGSM, "bim": BIM, "pgd": PGD, "square": Square}


class SmallestBudget(LineSearch):
    """The smallest budget with which another attack of this project fools the model, per image.

    FGSM's gradient is taken once, as it does not depend on ε, and BIM's steps are shared as far as no ball stops them;
    other attacks start anew at every strength.

    Args:
        estimator: as in `TorchAttack`.
        attack: ``"fgsm"``, ``"bim"``, ``"pgd"``, ``"square"``, or ``"module:Class"`` of another `TorchAttack`.
        parameter: which argument of that attack is its strength.
        largest: last strength, in the units of `parameter`.
        steps: number of strengths: `largest` · k / `steps`.
        settings: further arguments of that attack; the others have the defaults of its class, which are ART's.
        rule: settings that follow from the strength. ``"kurakin"``: BIM's steps are 1/255 long and there are
            min(255 ε + 4, 1.25 · 255 ε) of them, as in Kurakin et al. 2017 (rounded up, which the paper leaves open).
            ``"madry"``: steps of 2.5 ε / max_iter, as in Madry et al. 2018. None: nothing does.
        targeted: reach `y` instead of leaving it.
        batch_size: images per evaluation of the model.
        seed: of every random draw.

    Raises:
        AttackError: an attack that is not a `TorchAttack`, one with random starts (an image's start would depend on
            which others have finished), or parameters that it does not take.
    """

    attack_params: ClassVar[list[str]] = ["attack", "parameter", "settings", "rule", *LineSearch.attack_params]

    def __init__(
        self,
        estimator: Any,
        attack: str = "pgd",
        parameter: str = "eps",
        largest: float = 0.3,
        steps: int = 30,
        settings: Mapping[str, Any] | None = None,
        rule: str | None = None,
        targeted: bool = False,
        batch_size: int = 64,
        seed: int = 0,
    ) -> None:
        super().__init__(estimator, largest=largest, steps=steps, targeted=targeted, batch_size=batch_size, seed=seed)
        if rule is not None and rule not in RULES:
            raise AttackError(f"SmallestBudget: there is no rule {rule!r}; it is None or one of {', '.join(RULES)}.")
        self.attack, self.parameter, self.settings, self.rule = attack, parameter, settings, rule
        self._class = _implementation(attack)
        # Built once now, so that a wrong parameter is refused before anything runs.
        if getattr(self._wrapped(largest), "num_random_init", 0):
            raise AttackError(f"SmallestBudget: {attack!r} starts at random; add num_random_init=0 to settings.")

    def _wrapped(self, strength: float) -> TorchAttack:
        """The other attack at this strength."""
        accepted = set(inspect.signature(self._class.__init__).parameters)
        run = {"targeted": self.targeted, "batch_size": self.batch_size, "seed": self.seed}
        if self.targeted and "targeted" not in accepted:
            raise AttackError(f"SmallestBudget: the attack {self.attack!r} cannot be targeted; leave target out.")
        params = {**(self.settings or {}), self.parameter: strength}
        params.update({k: v for k, v in run.items() if k in accepted})
        if self.rule is not None:
            params.update(RULES[self.rule](strength, params))
        unknown = sorted(set(params) - accepted)
        if unknown:
            known = ", ".join(sorted(accepted - {"self", "estimator", *run}))
            raise AttackError(f"SmallestBudget: {self.attack!r} takes no parameter {unknown[0]!r}; it takes: {known}.")
        return self._class(self.estimator, **params)

    def _line(self, x: Tensor, y: Tensor, numbers: Tensor) -> Line:
        whole = self._wrapped(self.largest)
        # One tensor, changed in place: a NaN gradient that the other attack sees is reported by this one.
        whole._broken = self._broken
        if isinstance(whole, FGSM) and self.parameter == "eps" and self.rule is None:
            return whole.line(x, y)
        if isinstance(whole, BIM) and self.parameter == "eps" and self.rule in (None, "kurakin"):
            return _SharedSteps(self._wrapped, self._broken, x, y)
        return lambda rows, strength: self._made(strength, x[rows], y[rows], numbers[rows])

    def _made(self, strength: float, x: Tensor, y: Tensor, numbers: Tensor) -> Tensor:
        attack = self._wrapped(strength)
        attack._broken = self._broken
        if isinstance(attack, Numbered):
            return attack._attack_numbered(x, y, numbers)
        attack._start()
        return attack._attack(x, y).detach()


class _SharedSteps:
    """BIM at growing ε, with steps of one length.

    The first ⌊ε / step⌋ steps cannot leave the ball, so that they are the same for every larger ε. They are taken once,
    and at each strength only the steps after them.
    """

    def __init__(self, wrapped: Callable[[float], TorchAttack], broken: Tensor, x: Tensor, y: Tensor) -> None:
        self._wrapped, self._broken, self._x, self._y = wrapped, broken, x, y
        self._at, self._taken = x.clone(), 0

    def __call__(self, rows: Tensor, eps: float) -> Tensor:
        attack = cast(BIM, self._wrapped(eps))
        attack._broken = self._broken
        free = min(attack.max_iter, math.floor(eps / attack.eps_step + 1e-6))
        self._at[rows] = self._advanced(attack, rows, free - self._taken)
        self._taken = free
        return self._advanced(attack, rows, attack.max_iter - free)

    def _advanced(self, attack: BIM, rows: Tensor, steps: int) -> Tensor:
        x, y, at = self._x[rows], self._y[rows], self._at[rows]
        for _ in range(steps):
            _, _, gradient = attack.loss_and_gradient(at, y)
            at = attack._next(x, at, gradient)
        return at


def _implementation(attack: str) -> type[TorchAttack]:
    """The class behind `attack`."""
    if attack in KNOWN:
        return KNOWN[attack]
    module, _, name = attack.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise AttackError(
            f"SmallestBudget: there is no attack {attack!r} ({error}); write one of {', '.join(KNOWN)}, or "
            "'module:Class'."
        ) from error
    if not (inspect.isclass(found) and issubclass(found, TorchAttack)):
        raise AttackError(f"SmallestBudget: {attack!r} is not a TorchAttack, whose images stay tensors.")
    return found
