"""A WorstCase: which images any of several attacks broke, which attack did, and the rates of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from pytest_robust.errors import SettingsError
from pytest_robust.evaluation.evaluation import Evaluation
from pytest_robust.evaluation.rate import Rate

#: What broke an image that is answered wrongly as it is.
UNATTACKED = "unattacked"


@dataclass(frozen=True, eq=False, repr=False)
class WorstCase:
    """N images under several attacks, the worst of all counted for each.

    Args:
        defense: name of the defended model.
        attacks: what was tried, in order, "unattacked" first.
        by: int64 of shape (N,): the position in `attacks` of what broke each image; -1 where nothing did.
        right: bool of shape (N,): answered with the true label each time that it was asked about.
        checks: what is wrong with the parts as evidence, a sentence each.
    """

    defense: str
    attacks: tuple[str, ...]
    by: Tensor
    right: Tensor
    checks: tuple[str, ...] = ()

    @classmethod
    def start(cls, defense: str, clean: Evaluation, before: Mapping[str, Tensor]) -> WorstCase:
        """What `clean` images, and attacks made `before` (bool of shape (N,) each: broken), have decided already.

        Raises:
            SettingsError: a mask of another shape or dtype.
        """
        by = torch.where(clean.wrong, 0, -1)
        for number, (name, mask) in enumerate(before.items(), 1):
            if mask.shape != by.shape or mask.dtype != torch.bool:
                raise SettingsError(
                    f"what {name!r} broke must be a bool tensor of shape ({len(by)},), one for each image, not "
                    f"{mask.dtype} of shape {tuple(mask.shape)}."
                )
            by = torch.where((by < 0) & mask, number, by)
        return cls(defense, (UNATTACKED, *before), by, clean.correct & (by < 0), clean.checks)

    def after(self, attack: str, part: Evaluation, checks: Iterable[str] = ()) -> WorstCase:
        """The same after one more attack, whose evaluation `part` is of the images that still `held`, in order."""
        rows = self.held
        if len(part) != len(rows):
            raise SettingsError(f"{attack} was evaluated on {len(part)} images, but {len(rows)} were left.")
        broken, right = rows[part.wrong], self.right.clone()
        right[rows] &= part.correct
        by = self.by.index_fill(0, broken, len(self.attacks))
        return replace(
            self, attacks=(*self.attacks, attack), by=by, right=right, checks=(*self.checks, *map(str, checks))
        )

    def __len__(self) -> int:
        return len(self.by)

    def __repr__(self) -> str:
        """What a failed assertion shows: the rates, and which attack broke how many."""
        counts = ", ".join(f"{k}: {v}" for k, v in self.broken.items())
        parts = [self.defense, f"accuracy {self.accuracy}", f"error {self.error}", f"broken by {{{counts}}}"]
        return f"WorstCase({', '.join([*parts, *self.checks])})"

    @property
    def held(self) -> Tensor:
        """Positions, int64, of the images that nothing has broken."""
        return (self.by < 0).nonzero()[:, 0]

    @property
    def wrong(self) -> Tensor:
        """Bool of shape (N,): answered wrongly, and not rejected, under one of the attacks at least."""
        return self.by >= 0

    @cached_property
    def broken(self) -> dict[str, int]:
        """How many images each attack broke that none before it did, in order; those that broke none are left out."""
        counts = (self.by[:, None] == torch.arange(len(self.attacks))).sum(0).tolist()
        return {attack: count for attack, count in zip(self.attacks, counts, strict=True) if count}

    @property
    def error(self) -> Rate:
        """Err: the share that is answered wrongly under one of the attacks at least."""
        return Rate.of(self.wrong)

    @property
    def accuracy(self) -> Rate:
        """Acc: the share that is answered with the true label under all of them.

        Of a model that rejects it is no more than that: the attacks look for wrong answers, and not for rejections.
        """
        return Rate.of(self.right)
