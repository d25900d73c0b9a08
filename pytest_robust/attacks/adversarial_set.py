"""An AdversarialSet: clean and perturbed images, labels, which fooled the surface, norms, provenance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from pytest_robust.data.split import Split
from pytest_robust.errors import SettingsError
from pytest_robust.store.fingerprint import fingerprint

#: Values of `AdversarialSet.outcome`: how an attack's own search for an image ended.
FOUND, ZERO_DIRECTION, NO_STEP = 0, 1, 2


@dataclass(frozen=True, eq=False, repr=False)
class AdversarialSet:
    """What an attack made of a split.

    Args:
        clean: the images that were attacked, with their true labels.
        x: perturbed images, float32 of shape (N, C, H, W), in [0, 1].
        success: bool of shape (N,): the surface misclassifies the perturbed image, judged from the true labels
            by this project and at two batch sizes, never by the attack's own word.
        unstable: bool of shape (N,): the surface's answer changed between the two batch sizes.
        targets: int64 of shape (N,) where the attack was targeted, else None.
        image: int64 of shape (N,): which original each entry was made from, where several share one; else None.
        provenance: attack, parameters, surface, seed and versions, as plain data.
        outcome: int64 of shape (N,) where the attack tells how its search ended, else None: 0 it found something, or
            had nothing to do; 1 its direction was zero everywhere; 2 no step that it tried changes the label.
        right: bool of shape (N,): the surface answers the clean image with its label; None where nobody asked. Of the
            others no attack can take anything.
    """

    clean: Split
    x: Tensor
    success: Tensor
    unstable: Tensor
    targets: Tensor | None = None
    image: Tensor | None = None
    provenance: dict[str, Any] = field(default_factory=dict)
    outcome: Tensor | None = None
    right: Tensor | None = None

    def __len__(self) -> int:
        return len(self.x)

    def __repr__(self) -> str:
        """The attack and how many of its images the surface misclassifies; some it may have had wrong before."""
        title = self.provenance.get("title", self.attack)
        return f"AdversarialSet({title} of {self.clean.name}: {int(self.success.sum())} of {len(self)} misclassified)"

    @property
    def y(self) -> Tensor:
        """True labels, int64 of shape (N,)."""
        return self.clean.y

    @property
    def attack(self) -> str:
        """Registered name of the attack."""
        return str(self.provenance.get("attack", ""))

    @cached_property
    def norms(self) -> dict[str, Tensor]:
        """Per-image size of the perturbation, float32 of shape (N,) each: "l0" counts values, "l1", "l2", "linf"."""
        delta = (self.x - self.clean.x).flatten(1)
        return {
            "l0": (delta != 0).sum(1).float(),
            "l1": delta.abs().sum(1),
            "l2": delta.norm(dim=1),
            "linf": delta.abs().amax(1) if delta.numel() else torch.zeros(len(delta)),
        }

    @property
    def success_share(self) -> float:
        """Of the images that the surface had right, the share that fool it; NaN where it had none."""
        among = self.success if self.right is None else self.success[self.right]
        return float(among.float().mean())

    @property
    def failures(self) -> dict[str, int]:
        """How many images did not fool the surface, by cause; they add up to the failures.

        "zero direction" and "no step" are what the attack tells (`outcome`); "unstable" are images that it takes for
        successful and the surface, asked again at two batch sizes, does not. An attack that tells nothing has all of
        its failures under "not recorded".
        """
        failed = ~self.success
        if self.outcome is None:
            return {"not recorded": int(failed.sum())}
        causes = {"zero direction": ZERO_DIRECTION, "no step": NO_STEP, "unstable": FOUND}
        return {name: int((failed & (self.outcome == code)).sum()) for name, code in causes.items()}

    @cached_property
    def fingerprint(self) -> str:
        """Of the perturbed images, the clean ones and the provenance."""
        return fingerprint([self.as_split().fingerprint, self.clean.fingerprint, self.provenance])

    def as_split(self) -> Split:
        """The perturbed images with their true labels, marked as adversarial."""
        return Split(self.x, self.clean.y, self.clean.num_classes, f"{self.attack} of {self.clean.name}", "adversarial")

    def subset(self, index: Tensor) -> AdversarialSet:
        """The images at `index` (positions or a bool mask), in that order."""
        targets = None if self.targets is None else self.targets[index]
        image = None if self.image is None else self.image[index]
        clean = self.clean.subset(index)
        outcome = None if self.outcome is None else self.outcome[index]
        right = None if self.right is None else self.right[index]
        masks = self.success[index], self.unstable[index]
        return AdversarialSet(clean, self.x[index], *masks, targets, image, self.provenance, outcome, right)

    @staticmethod
    def cat(sets: Sequence[AdversarialSet]) -> AdversarialSet:
        """Several attacks on the same originals as one set that remembers which entries share an original.

        Raises:
            SettingsError: the sets were made from different images, or there are none.
        """
        if not sets:
            raise SettingsError("there is no adversarial set to join: give one or more.")
        first = sets[0]
        if any(s.clean.fingerprint != first.clean.fingerprint for s in sets):
            raise SettingsError("adversarial sets of different images cannot be joined: attack the same split.")
        order = torch.arange(len(first)).repeat(len(sets))
        return AdversarialSet(
            first.clean.subset(order),
            torch.cat([s.x for s in sets]),
            torch.cat([s.success for s in sets]),
            torch.cat([s.unstable for s in sets]),
            _joined([s.targets for s in sets]),
            order,
            {
                "attack": first.attack,
                # The worst part speaks for the whole: a check on one of them must not be averaged away.
                "zero_gradient": max(s.provenance.get("zero_gradient", 0.0) for s in sets),
                "weakest_part": min((s.success_share for s in sets if len(s)), default=0.0),
                "budget": first.provenance.get("budget", "none"),
                "joined": [s.provenance for s in sets],
            },
            _joined([s.outcome for s in sets]),
            _joined([s.right for s in sets]),
        )


def _joined(parts: list[Tensor | None]) -> Tensor | None:
    """All parts, or None if any is missing."""
    there = [part for part in parts if part is not None]
    return torch.cat(there) if len(there) == len(parts) else None
