"""Adversarial training: on clean images and on adversarial ones made anew for every step of the training."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from pytest_robust.bench.bench import Bench
from pytest_robust.bench.hardening import Hardening
from pytest_robust.errors import SettingsError
from pytest_robust.models.adversarial_mix import AdversarialMix
from pytest_robust.models.recipe import Recipe

#: Budgets ε in L∞, units of [0, 1] images: of FGSM in Strauss et al., where MNIST's also serves sets like it.
EPS = {"mnist": 0.3, "fashion_mnist": 0.3, "digits": 0.3, "cifar10": 0.03, "cifar100": 0.03}
#: For a data set that nobody chose one for: the smaller one, because 0.3 leaves nothing of a photograph.
EPS_ELSEWHERE = 0.03
#: With several steps, a step is so many times ε over their number (Madry et al. 2018 use 2.5 in CIFAR's evaluation).
REACH = 2.5


@dataclass(frozen=True, repr=False)
class AdversarialTraining(Hardening):
    """FGSM mixing, ρ J(x) + (1 − ρ) J(x_FGSM), by default; with other parameters PGD adversarial training.

    Madry et al.'s is ``AdversarialTraining(max_iter=7, random_start=True, rho=0.0)`` (arXiv:1706.06083).

    Args:
        eps: budget ε in L∞, in units of [0, 1] images; None is the data set's.
        eps_step: length of a step; None is ε for one step, and 2.5 ε / `max_iter` for several.
        max_iter: steps of the attack; one is FGSM.
        random_start: start the attack uniformly inside the ball.
        rho: ρ in [0, 1), the weight of the clean images.
    """

    name: ClassVar[str] = "adversarial_training"
    paper: ClassVar[str] = "Goodfellow et al., ICLR 2015, arXiv:1412.6572; Madry et al., ICLR 2018, arXiv:1706.06083"
    limitation: ClassVar[str] = (
        "one-step training holds against one-step attacks only: iterative ones break it (Kurakin et al. 2017, "
        "arXiv:1611.01236), and transferred ones too (Tramèr et al. 2018, arXiv:1705.07204); training with several "
        "steps holds inside its own ball and norm"
    )

    eps: float | None = None
    eps_step: float | None = None
    max_iter: int = 1
    random_start: bool = False
    rho: float = 0.5

    def loss(self, dataset: str) -> AdversarialMix:
        """What the training minimises on a data set.

        Raises:
            SettingsError: a parameter that cannot be right.
        """
        if not (0 <= self.rho < 1 and self.max_iter >= 1 and (self.eps is None or 0 < self.eps <= 1)):
            raise SettingsError(
                f"{self.title} cannot be trained: eps must be in (0, 1], max_iter at least 1 and rho in [0, 1)."
            )
        eps = EPS.get(dataset, EPS_ELSEWHERE) if self.eps is None else self.eps
        step = (eps if self.max_iter == 1 else REACH * eps / self.max_iter) if self.eps_step is None else self.eps_step
        return AdversarialMix(eps, step, self.max_iter, self.random_start, 1 - self.rho)

    def _harden(self, recipes: list[Recipe], bench: Bench) -> list[Recipe]:
        loss = self.loss(bench.dataset.name)
        # All epochs, and the weights after the last: what would stop it and choose among them is clean accuracy, which
        # such a training begins with a plateau of and gives some of away.
        return [replace(recipe, loss=loss, validation=None, patience=None) for recipe in recipes]


defense = AdversarialTraining
