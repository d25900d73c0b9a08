"""WorstImages: what a model answers on the images that it is worst at, taken out of results for people to look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pytest_robust.threats.decision import Decision

if TYPE_CHECKING:
    from pytest_robust.gate.result import Result


@dataclass(frozen=True, eq=False)
class WorstImages:
    """The worst images of an evaluation, the worst first.

    Args:
        index: where they are in the user's data.
        y: true labels, int64 of shape (n,).
        clean: as they are, float32 of shape (n, C, H, W), in [0, 1].
        answers: what the model says of them.
        attacked: as the attack left them, like `clean`; None where nobody attacked.
        attacked_answers: what the model says of those; None where nobody attacked.
    """

    index: list[int]
    y: Tensor
    clean: Tensor
    answers: Decision
    attacked: Tensor | None = None
    attacked_answers: Decision | None = None

    @property
    def captions(self) -> list[str]:
        """For each, where it is, its label, and the answers: ``#12, is 3: 3 → 8``."""
        before = _words(self.answers)
        after = None if self.attacked_answers is None else _words(self.attacked_answers)
        said = before if after is None else [f"{a} → {b}" for a, b in zip(before, after, strict=True)]
        return [f"#{i}, is {y}: {words}" for i, y, words in zip(self.index, self.y.tolist(), said, strict=True)]


def worst_first(results: Sequence[Result]) -> Tensor:
    """Rows of the images of one model under one attack, int64 of shape (N,), the worst first.

    First those that the attack has taken: right as they are, and no longer. Then those that were wrong before anybody
    attacked, then those that stay right. Among their like by the margin, the most wrong answer first; for an attack
    without a budget, which looks for the smallest perturbation, those that it has taken by its size.

    Args:
        results: each on a part of the images.
    """
    figures = [result.figures for result in results]
    key = torch.cat([f.margins.cpu() for f in figures]).double()
    attacked = [f.attacked.correct.cpu() for f in figures if f.attacked is not None]
    if not attacked:
        return key.argsort(stable=True)
    right = torch.cat([f.clean.correct.cpu() for f in figures])
    taken = right & ~torch.cat(attacked)
    attack, adversarial = results[0].attack, [f.adversarial for f in figures if f.adversarial is not None]
    if attack is not None and attack.eps is None and attack.norm is not None:
        sizes = torch.cat([each.norms[attack.norm].cpu() for each in adversarial])
        key = torch.where(taken, sizes.double(), key)
    order = key.argsort(stable=True)
    group = torch.where(taken, 0, torch.where(right, 2, 1))
    return order[group[order].argsort(stable=True)]


def worst_images(results: Sequence[Result], seen: Tensor, worst: Sequence[int]) -> WorstImages:
    """The images at the positions `worst`, in that order.

    Args:
        results: of one model and one attack, each on a part of the data.
        seen: int64 of shape (N,): position in the data of each image of the results, in their order.
        worst: positions, all of them in `seen`.
    """
    row_of = {position: row for row, position in enumerate(seen.tolist())}
    rows = torch.tensor([row_of[position] for position in worst], dtype=torch.int64)
    figures = [result.figures for result in results]
    clean = torch.cat([result.data.x.cpu() for result in results])[rows]
    y = torch.cat([result.data.y.cpu() for result in results])[rows]
    found = WorstImages(list(worst), y, clean, _rows([f.clean.decision for f in figures], rows))
    adversarial = [f.adversarial.x.cpu() for f in figures if f.adversarial is not None]
    attacked = [f.attacked.decision for f in figures if f.attacked is not None]
    if not adversarial:
        return found
    return WorstImages(found.index, y, clean, found.answers, torch.cat(adversarial)[rows], _rows(attacked, rows))


def _rows(parts: list[Decision], rows: Tensor) -> Decision:
    whole = Decision.cat(parts)
    return Decision(*(each.cpu()[rows] for each in (whole.label, whole.rejected, whole.score)))


def _words(answers: Decision) -> list[str]:
    pairs = zip(answers.label.tolist(), answers.rejected.tolist(), strict=True)
    return ["rejected" if rejected else str(label) for label, rejected in pairs]
