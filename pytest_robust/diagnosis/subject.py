"""The Subject of a diagnosis: a model, images and an attack, with the work that several checks share, done once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from pytest_robust.attacks.adversarial_set import AdversarialSet
from pytest_robust.attacks.attack import Attack
from pytest_robust.attacks.batching import comfortable_batch
from pytest_robust.attacks.crafting import attack_key
from pytest_robust.attacks.isolation import frozen, seeded
from pytest_robust.bench.bench import Bench
from pytest_robust.data.split import Split
from pytest_robust.diagnosis.check import NotApplicable
from pytest_robust.errors import AttackError
from pytest_robust.models.classifier import Classifier
from pytest_robust.models.threads import suitable_threads
from pytest_robust.store.artifacts import Artifact
from pytest_robust.store.fingerprint import file_fingerprint, fingerprint
from pytest_robust.threats.defended import Defended

#: Checks that take many passes per image look at a third of the images, at least so many (ours).
FEWEST = 16


@dataclass(frozen=True, eq=False)
class Subject:
    """What is diagnosed.

    Args:
        bench: where attacks are run and kept.
        defended: the model as it is deployed.
        surface: what the attack differentiates or asks.
        split: clean images with their labels.
        attack: what the model is evaluated with.
        surrogate: a network of the attacker's own, for transfer; called once, None where there is none.
    """

    bench: Bench
    defended: Defended
    surface: Classifier
    split: Split
    attack: Attack
    surrogate: Callable[[], Classifier | None]

    @property
    def seed(self) -> int:
        """The run's."""
        return self.bench.settings.seed

    @property
    def batch(self) -> int:
        """How many images the surface takes at once without filling the machine."""
        return comfortable_batch(self.surface.input_shape, self.surface.device)

    @contextmanager
    def undisturbed(self) -> Iterator[None]:
        """The surface in eval mode; afterwards its mode, gradients and the global random states are as before."""
        surface = self.surface
        with (
            frozen(surface),
            seeded(self.seed, surface.device),
            suitable_threads(surface.input_shape, surface.device),
        ):
            yield

    def outputs(self, x: Tensor) -> Tensor:
        """What the surface gives for `x`, as one batch and unchecked, on the CPU; call it inside `undisturbed`."""
        with torch.no_grad():
            outputs: Tensor = self.surface(x.to(self.surface.device))
        return outputs.cpu()

    @cached_property
    def images(self) -> Split:
        """Those clean images that the surface classifies correctly; on the others any attack succeeds.

        Raises:
            NotApplicable: there are none.
        """
        with self.undisturbed():
            correct = self.surface.predict(self.split.x) == self.split.y
        if not bool(correct.any()):
            raise NotApplicable(f"None of {len(self.split)} clean images is classified correctly.")
        return self.split.subset(correct, name=f"{self.split.name}, correctly classified")

    @cached_property
    def few(self) -> Split:
        """The first of `images`, for checks that take many passes."""
        return self.images.subset(range(min(len(self.images), max(FEWEST, len(self.split) // 3))))

    @cached_property
    def adversarial(self) -> AdversarialSet:
        """`images` under the attack."""
        return self.run(self.attack, self.images)

    @cached_property
    def withstanding(self) -> Split:
        """Those of `images` that the attack did not fool the surface on; it may be empty."""
        return self.images.subset(~self.adversarial.success, name=f"{self.images.name}, withstanding")

    def run(self, attack: Attack, split: Split, surface: Classifier | None = None) -> AdversarialSet:
        """`split` under `attack` against the surface or another one: from the store, or now.

        Raises:
            AttackError: it cannot run here, or its output breaks the contract.
        """
        try:
            return self.bench.attack(surface or self.surface, attack, split)
        except torch.cuda.OutOfMemoryError:
            raise
        except RuntimeError as error:  # torch's own, for a model that breaks in its backward pass
            first = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise AttackError(f"the attack {attack.title} breaks on {self.surface.name!r}: {first}") from error

    def fooled(self, perturbed: Tensor, y: Tensor) -> Tensor:
        """Bool of shape (N,): the surface takes images made elsewhere for a wrong class, and does not reject them."""
        with self.undisturbed():
            answers = self.surface.predict(perturbed)
        return (answers != y) & (answers < self.split.num_classes)

    def remembered(self, what: Callable[..., object], build: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
        """Tensors that a check measured on this subject: from the store, or built and kept there now.

        Args:
            what: the check; an edit to this sub-package makes them anew.
            build: measures them.
        """
        key = fingerprint(
            [
                "diagnosis",
                what.__qualname__,
                [file_fingerprint(path) for path in sorted(Path(__file__).parent.glob("*.py"))],
                len(self.split),
                attack_key(self.attack, self.surface, self.images, self.seed),
            ]
        )
        artifact, _ = self.bench.store.get_or_build("diagnosis", key, lambda: Artifact(build(), {}))
        return artifact.tensors
