"""Ensembles: several networks that were made to differ, answering by the mean of their probabilities."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import ClassVar

import torch

from pytest_robust.bench.bench import Bench
from pytest_robust.bench.defense import Defense
from pytest_robust.bench.hardening import Hardening
from pytest_robust.data.split import Split
from pytest_robust.errors import SettingsError
from pytest_robust.models.classifier import Classifier
from pytest_robust.models.ensemble_networks import BASES, variants
from pytest_robust.models.recipe import Recipe
from pytest_robust.store.fingerprint import fingerprint, source_fingerprint
from pytest_robust.threats.defended import Defended, ThreatModel, answers_of
from pytest_robust.threats.surfaces import MeanLoss, MeanProbability, ScaledMargins, surface_of

#: Added to a member's seed, so that resampling and noise share no random numbers with its training.
RESAMPLING_SEED = 7_000_003
#: Between the seeds of two members.
MEMBER_SEED = 8_000_009
#: Added to the seeds of mixed architectures: the first is the network of "random_init", and shall not be its first
#: member a second time.
MIXED_SEED = 9_000_011


@dataclass(frozen=True)
class Ensemble(Defense):
    """Networks trained apart, the mean of whose probabilities decides.

    Every member has its own seed: initial weights, order of the images, dropout. Beyond that, `method` makes them
    differ.

    Args:
        method: "random_init" (by the seed alone), "mixed" (slightly different architectures), "bagging" (each member
            trained on a bootstrap replicate: as many images, drawn with replacement) or "noise" (each on its own copy
            of the images with Gaussian noise).
        members: how many networks.
        sigma: standard deviation of the noise, in units of [0, 1] images (our choice: the paper says "small").
        architectures: registered names for "mixed", a member each, counted around; without any, the recipe's network
            where it is one of the paper's, else the paper's for MNIST or CIFAR-10 by the number of channels: as it is,
            with one more convolution, with more filters, with both.
        base: how each member is trained; None is plainly.
    """

    name: ClassVar[str] = "ensemble"
    paper: ClassVar[str] = (
        "Strauss et al., Ensemble Methods as a Defense to Adversarial Perturbations, arXiv:1709.03423"
    )
    limitation: ClassVar[str] = (
        "deterministic and differentiable: whoever attacks the mean probability itself with enough steps has its exact "
        "gradient, and images that fool several networks at once exist (Liu et al. 2017, arXiv:1611.02770); ensembles "
        "of weak defenses are weak (He et al. 2017, arXiv:1706.04701)"
    )

    method: str = "random_init"
    members: int = 10
    sigma: float = 0.1
    architectures: tuple[str, ...] = ()
    base: Hardening | None = None

    def fit(self, bench: Bench) -> Defended:
        """Train the members, at the same time where the machine can, and put them together."""
        members = bench.train_all(self.recipes(bench))
        whole = surface_of(MeanProbability(members), members[0], f"{self.title}, mean probability")
        return Defended(
            name=self.title,
            num_classes=bench.dataset.num_classes,
            decide_batch=answers_of(whole),
            surfaces=self._surfaces(members, whole, bench.classifier),
            device=bench.device,
            fingerprint=fingerprint([self.title, source_fingerprint(type(self)), whole.fingerprint]),
            networks={f"member_{number}": member for number, member in enumerate(members, 1)},
        )

    def _surfaces(self, members: list[Classifier], whole: Classifier, undefended: Classifier) -> dict[str, Classifier]:
        return {
            ThreatModel.GRAY_BOX: undefended,
            ThreatModel.WHITE_BOX: whole,
            # Deterministic and differentiable, the ensemble leaves an attacker who knows it nothing to work around.
            ThreatModel.ADAPTIVE: whole,
            "grad_1": members[0],
            "grad_2": surface_of(MeanLoss(members), members[0], f"{self.title}, mean loss"),
            # But its gradient is the surest member's almost alone, which matters where members differ in scale.
            "scaled": surface_of(ScaledMargins(members), members[0], f"{self.title}, scaled log-odds"),
        }

    def recipes(self, bench: Bench) -> list[Recipe]:
        """Of the members, in order; the first has the bench's own seed, unless architectures are mixed.

        Raises:
            SettingsError: a parameter that cannot be right.
        """
        own = self.plain_recipes(bench)
        return own if self.base is None else self.base.harden(own, bench)

    def plain_recipes(self, bench: Bench) -> list[Recipe]:
        """Of the members without `base`: what makes them differ, and nothing else."""
        self._check()
        recipe = bench.recipe()
        made = [recipe.with_seed(recipe.seed + number * MEMBER_SEED) for number in range(self.members)]
        differ = _METHODS[self.method]
        return [
            replace(differ(self, member, number), name=f"{self.title}, member {number + 1}")
            for number, member in enumerate(made)
        ]

    def _check(self) -> None:
        if self.method not in _METHODS:
            raise SettingsError(f"an ensemble has no method {self.method!r}; choose one of: {', '.join(_METHODS)}.")
        if self.members < 1 or not 0 <= self.sigma < float("inf"):
            raise SettingsError(
                f"an ensemble needs members >= 1 and a noise of sigma >= 0, not {self.members} and {self.sigma:g}."
            )
        used = {"architectures": "mixed", "sigma": "noise"}
        idle = [field for field, method in used.items() if method != self.method and _is_given(self, field)]
        if idle:
            raise SettingsError(
                f"an ensemble of the method {self.method!r} has no use for {idle[0]}, which is for method="
                f"{used[idle[0]]!r}: leave it out, or choose that method."
            )


def _is_given(ensemble: Ensemble, field: str) -> bool:
    return bool(getattr(ensemble, field) != Ensemble.__dataclass_fields__[field].default)


def same(_: Ensemble, recipe: Recipe, __: int) -> Recipe:
    """Nothing but the seed differs."""
    return recipe


def mixed(ensemble: Ensemble, recipe: Recipe, number: int) -> Recipe:
    """Another architecture for each member."""
    like = "cifar" if recipe.input_shape[0] == 3 else "mnist"
    plan = next((plan for plan, base in BASES.items() if base == recipe.architecture), like)
    names = ensemble.architectures or variants(plan, ensemble.members)
    return replace(recipe, architecture=names[number % len(names)], seed=recipe.seed + MIXED_SEED)


def bagging(_: Ensemble, recipe: Recipe, __: int) -> Recipe:
    """A bootstrap replicate of each training split (Breiman 1996): 63.2 % of its images on average."""
    return replace(recipe, data=tuple(_bootstrap(split, recipe.seed + RESAMPLING_SEED) for split in recipe.data))


def noise(ensemble: Ensemble, recipe: Recipe, _: int) -> Recipe:
    """Gaussian noise, drawn once for a member: it is trained on similar images, not on ever new ones."""
    seed = recipe.seed + RESAMPLING_SEED
    return replace(recipe, data=tuple(_noisy(split, ensemble.sigma, seed) for split in recipe.data))


_METHODS: Mapping[str, Callable[[Ensemble, Recipe, int], Recipe]] = MappingProxyType(
    {"random_init": same, "mixed": mixed, "bagging": bagging, "noise": noise}
)


def _bootstrap(split: Split, seed: int) -> Split:
    drawn = torch.randint(len(split), (len(split),), generator=torch.Generator().manual_seed(seed))
    return split.subset(drawn, name=f"{split.name}, bootstrap")


def _noisy(split: Split, sigma: float, seed: int) -> Split:
    drawn = torch.randn(split.x.shape, generator=torch.Generator().manual_seed(seed)).to(split.x.device)
    # Cut to the range of images, as whatever is attacked and classified later is in it.
    return replace(split, x=drawn.mul_(sigma).add_(split.x).clamp_(0, 1), name=f"{split.name}, noisy")


defense = Ensemble
