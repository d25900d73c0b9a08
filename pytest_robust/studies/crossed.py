"""Crossed: adversarial images of every network of a family, tested on every network; numbers per image alone.

Images are read, attacked and measured a chunk at a time, and nothing of their pixels stays. The numbers of each chunk,
attack and network are kept in the store, so that an interrupted run goes on where it was, and a repeated one attacks
nothing and reads no image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pytest_robust.attacks.attack import Attack
from pytest_robust.bench.bench import Bench
from pytest_robust.bench.evaluating import warning_signs
from pytest_robust.bench.ledger import stopwatch
from pytest_robust.data.images import Images
from pytest_robust.errors import SettingsError
from pytest_robust.evaluation import alignment, ssim
from pytest_robust.evaluation.alignment import opencv
from pytest_robust.evaluation.guessing import guessing_rate, guessing_signs
from pytest_robust.evaluation.rate import Rate
from pytest_robust.models.classifier import Classifier
from pytest_robust.models.family import Family, family_of, right_by_all
from pytest_robust.models.threads import suitable_threads
from pytest_robust.store.artifacts import Artifact
from pytest_robust.store.fingerprint import fingerprint, source_fingerprint
from pytest_robust.studies import numbers
from pytest_robust.studies.arguments import check_images, check_limit, titled
from pytest_robust.studies.images import Chunk, EightBit, chunks_of, drawn
from pytest_robust.studies.numbers import CAUSES, numbers_of

#: Of the artifacts in the store.
KIND = "study"


@dataclass(frozen=True, eq=False)
class Crafted:
    """What one attack made of the attacked images on one network. Tensors are by attacked image, of shape (N,).

    Args:
        success: bool: fooled the network it was made on, judged as every adversarial set's success is.
        unstable: bool: that network's answer depends on the batch.
        zero_gradient: share of the images on which that network's gradient is exactly zero.
        l2, linf: float64: size of the perturbation in pixel levels, 0 to 255; of whole levels where both images have
            8 bits.
        pass_score: float64: PASS of the perturbed image with its original; NaN where the attack failed.
        aligned: bool: PASS found how to align the two; elsewhere it is SSIM.
        outcome: int64: how the attack's own search ended (`AdversarialSet.outcome`); −1 where it does not tell.
        fools: bool of shape (N, networks): a success that this network takes for another class too.
        budget: whether the attack was limited by one.
        eps: the budget that the attack spends on every image; None where it looks for the smallest perturbation.
    """

    success: Tensor
    unstable: Tensor
    zero_gradient: float
    l2: Tensor
    linf: Tensor
    pass_score: Tensor
    aligned: Tensor
    outcome: Tensor
    fools: Tensor
    budget: bool
    eps: float | None = None

    @property
    def failures(self) -> dict[str, int]:
        """How many images did not fool the network, by cause (`AdversarialSet.failures`)."""
        return {name: int((~self.success & (self.outcome == code)).sum()) for name, code in CAUSES.items()}

    @property
    def checks(self) -> tuple[str, ...]:
        """Signs that the attack did not work, a sentence each."""
        if not len(self.success):
            return warning_signs(0)
        return warning_signs(
            len(self.success),
            unstable=float(self.unstable.double().mean()),
            zero_gradient=self.zero_gradient,
            success=None if self.budget else float(self.success.double().mean()),
        )


@dataclass(frozen=True, eq=False)
class Crossed:
    """Every attack on every network, tested on every network.

    Args:
        family: its name.
        data: the images' name.
        networks: names in order.
        groups: by network, the architecture it shares with others ("vgg"), or None.
        attacks: names in order.
        correct: bool of shape (images, networks): the clean image is classified correctly.
        attacked: int64 of shape (N,): which images were attacked, all of them classified correctly by all networks.
        pixels: values of an image, C·H·W.
        crafted: by attack, then by network.
        seed: of the run.
        guessing: accuracy of whoever always answers with the most frequent label.
    """

    family: str
    data: str
    networks: tuple[str, ...]
    groups: Mapping[str, str | None]
    attacks: tuple[str, ...]
    correct: Tensor
    attacked: Tensor
    pixels: int
    crafted: Mapping[str, Mapping[str, Crafted]]
    seed: int
    guessing: float = 0.0

    def __repr__(self) -> str:
        """Sizes, and not the tensors."""
        return (
            f"Crossed({self.family} on {self.data}: {len(self.networks)} networks, {len(self.attacks)} attacks, "
            f"{len(self.attacked)} of {len(self.correct)} images attacked)"
        )

    def checks(self, attack: str) -> tuple[str, ...]:
        """Signs that a network guesses, or that an attack did not work on it, a sentence each that names it."""
        found = []
        for column, network in enumerate(self.networks):
            signs = guessing_signs(Rate.of(self.correct[:, column]), self.guessing)
            found += [f"{network}: {sign}" for sign in (*signs, *self.crafted[attack][network].checks)]
        return tuple(found)

    def size_checks(self, attack: str) -> tuple[str, ...]:
        """`checks`, and whether sizes of perturbations say anything: not those that the user has set."""
        eps = self.crafted[attack][self.networks[0]].eps
        if eps is None:
            return self.checks(attack)
        sign = (
            f"{attack} spends a budget (eps={eps:g}) on every image, so that its sizes are not those of the smallest "
            "perturbations: give an attack that looks for these (fgs, deepfool, smallest_budget)"
        )
        return (sign, *self.checks(attack))

    def stacked(self, attack: str, field: str) -> Tensor:
        """A field of `Crafted` for all networks, of shape (N, networks)."""
        return torch.stack([getattr(self.crafted[attack][network], field) for network in self.networks], 1)


def cross(
    family: str | Family | Mapping[str, nn.Module],
    images: Images,
    attacks: str | Attack | Sequence[str | Attack],
    bench: Bench,
    *,
    limit: int | None = None,
) -> Crossed:
    """Attack every network of a family with every attack on the images that all of them classify correctly.

    Args:
        family: what `Bench.family` takes: a registered name, ``FILE.py:FUNCTION``, a `Family`, or networks by name.
            They are studied in eval mode; yours stay in the mode they are in.
        images: a `Split` or an `ImageFolder`; rounded to 8 bits before anything looks at them. They may show fewer
            classes than the networks know.
        attacks: one or several, each a registered name or an attack; each once.
        bench: attacks; its store keeps the numbers, its seed draws.
        limit: at most so many images are attacked, drawn at random from those that all networks classify correctly,
            for which all images are classified first; None is all.

    Raises:
        FamilyError: a network that cannot be had or does not fit, or no image that all networks classify correctly.
        SettingsError: no attack, one twice or something else; images that are none or that the networks do not take;
            OpenCV, which PASS needs, is not installed.
        AttackError, ModelError: as `Bench.attack` raises them.
    """
    chosen = titled(attacks, bench)
    check_limit(limit)
    check_images(images)
    return _cross(_fitted(family, bench), images, chosen, bench, limit)


def _fitted(family: str | Family | Mapping[str, nn.Module], bench: Bench) -> Family:
    """In eval mode, frozen and tried out; a `Family` on images of its own, which need not be those of the bench."""
    if isinstance(family, Family):
        return family_of(family.name, family, family.num_classes, family.input_shape, bench.device, copied=True)
    return bench.family(family)


def _cross(known: Family, images: Images, chosen: Mapping[str, Attack], bench: Bench, limit: int | None) -> Crossed:
    _check_fits(known, images)
    # All classes that the networks know: an image that is taken for any other than its own fools them.
    pixels = EightBit(images, known.num_classes)
    predicted = bench.predictions(known, pixels)
    correct = torch.stack([labels == images.y.cpu() for labels in predicted.values()], 1)
    common = right_by_all(known.name, predicted, pixels)
    attacked = drawn(common, limit, bench.settings.seed)
    crafted = _crafted(known, chosen, pixels, attacked, bench)
    groups = {name: known.groups.get(name) for name in known.members}
    about = (known.name, images.name, tuple(known.members), groups, tuple(chosen))
    shape = torch.Size(images.input_shape)
    sizes = shape.numel(), crafted, bench.settings.seed, guessing_rate(images.y)
    return Crossed(*about, correct, attacked, *sizes)


def _check_fits(family: Family, images: Images) -> None:
    if family.input_shape != images.input_shape or family.num_classes < images.num_classes:
        raise SettingsError(
            f"the family {family.name!r} takes images of shape {family.input_shape} (C, H, W) and knows "
            f"{family.num_classes} classes, but {images.name} has {images.input_shape} and {images.num_classes}: give "
            "the images that the networks were made for."
        )


def _crafted(
    family: Family, attacks: Mapping[str, Attack], images: Images, attacked: Tensor, bench: Bench
) -> dict[str, dict[str, Crafted]]:
    """By attack, then by network. A chunk of images is done with before the next one is read."""
    networks = list(family.members.values())
    keys = {a: dict(zip(family.members, _keys(networks, attacks[a], images, bench), strict=True)) for a in attacks}
    parts: dict[str, dict[str, list[Artifact]]] = {a: {n: [] for n in family.members} for a in attacks}
    for chunk in chunks_of(images, attacked):
        for name, attack in attacks.items():
            for network, key in keys[name].items():
                surface = family.members[network]
                parts[name][network].append(_measured(key, surface, networks, attack, chunk, bench))
    return {
        name: {network: _assembled(found, attacks[name]) for network, found in by_network.items()}
        for name, by_network in parts.items()
    }


def _measured(
    key: str, surface: Classifier, networks: Sequence[Classifier], attack: Attack, chunk: Chunk, bench: Bench
) -> Artifact:
    """The numbers of one chunk under one attack on one network, from the store or made now."""

    def build() -> Artifact:
        adversarial = bench.craft(surface, attack, chunk.split)
        with suitable_threads(surface.input_shape, surface.device):
            return numbers_of(adversarial, surface, networks)

    with stopwatch() as watch:
        artifact, built = bench.store.get_or_build(KIND, fingerprint([key, chunk.fingerprint]), build)
    if not built:
        bench.ledger.note("reused", attack.title, watch.seconds, n=len(chunk))
    return artifact


def _keys(networks: Sequence[Classifier], attack: Attack, images: Images, bench: Bench) -> list[str]:
    """Of one attack on each network, tested on all of them: everything that the numbers depend on, but the chunk."""
    columns = [network.fingerprint for network in networks]
    code = [source_fingerprint(module) for module in (alignment, ssim, numbers)]
    version = opencv().__version__
    return [fingerprint(["crossed", 2, bench.attack_key(n, attack, images), columns, code, version]) for n in networks]


def _assembled(parts: Sequence[Artifact], attack: Attack) -> Crafted:
    """The chunks in order as one; the share of zero gradients by their sizes."""
    tensors = {name: torch.cat([part.tensors[name] for part in parts]) for name in parts[0].tensors}
    sizes = [len(part.tensors["success"]) for part in parts]
    zero = sum(size * part.metadata["zero_gradient"] for size, part in zip(sizes, parts, strict=True)) / sum(sizes)
    return Crafted(zero_gradient=zero, budget=attack.budget is not None, eps=attack.eps, **tensors)
