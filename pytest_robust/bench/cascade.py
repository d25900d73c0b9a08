"""A cascade: several attacks in turn on one defended model, each on the images that all before it failed on.

An image counts as broken when any of them gets through, as AutoAttack counts (Croce & Hein 2020,
https://arxiv.org/abs/2003.01690), and what a broken image costs is spent on those that hold out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pytest_robust.attacks.adversarial_set import AdversarialSet
from pytest_robust.attacks.attack import Attack
from pytest_robust.attacks.objectives import rejection_counts_as, runner_up
from pytest_robust.attacks.redraw import ball_of, redraw
from pytest_robust.data.split import Split
from pytest_robust.errors import SettingsError
from pytest_robust.evaluation.evaluation import Evaluation
from pytest_robust.evaluation.worst_case import WorstCase
from pytest_robust.models.classifier import Classifier
from pytest_robust.store.artifacts import Artifact, ArtifactStore
from pytest_robust.store.code import code_fingerprint
from pytest_robust.store.fingerprint import fingerprint, source_fingerprint
from pytest_robust.threats.defended import Defended

#: The checks on a part count where it holds more than this share of all images, as they let a hundredth pass
#: themselves: the last of many attacks gets a few images, and one of those is a large share of them.
LEAST_SHARE = 0.01
#: Wrong classes that are attacked one by one, at most: those of the data sets with ten classes, and as many as
#: AutoAttack's targeted attacks take of others, the likeliest ones (Croce & Hein 2020).
MOST_TARGETS = 9


@dataclass(frozen=True)
class Stage:
    """One attack on one surface.

    Args:
        surface: what is attacked.
        attack: with its budget, which is that of all other stages.
    """

    surface: Classifier
    attack: Attack

    @property
    def title(self) -> str:
        """The attack and the surface, for people: ``pgd(…, target=label+3) on mismatch, both networks``."""
        return f"{self.attack.title} on {self.surface.name}"


def multi_targeted(surfaces: Sequence[Classifier], attack: Attack, *, num_classes: int, restarts: int) -> list[Stage]:
    """`attack` with restarts, then from one start towards each wrong class, each on every surface.

    Of more than ten classes it is the nine wrong ones that the surface thinks likeliest on the clean image.

    The loss of an untargeted attack follows the class that is nearest at the start, which need not be the one that can
    be reached (Gowal et al. 2019, https://arxiv.org/abs/1910.09338).

    Args:
        surfaces: what is attacked; one that is given twice is attacked once.
        attack: untargeted, with the parameter ``num_random_init``.
        num_classes: of the labels.
        restarts: starts of the untargeted attack.
    """
    distinct = list({surface.fingerprint: surface for surface in surfaces}.values())
    rule = "label" if num_classes - 1 <= MOST_TARGETS else "likely"
    towards = [attack.configured(target=f"{rule}+{k}") for k in range(1, min(num_classes - 1, MOST_TARGETS) + 1)]
    turns = [attack.configured(num_random_init=restarts), *(each.configured(num_random_init=1) for each in towards)]
    return [Stage(surface, turn) for turn in turns for surface in distinct]


@dataclass(frozen=True)
class Cascade:
    """What a cascade is made with: a bench's ways to attack and to evaluate, and its store.

    Args:
        attack: from a surface, an attack and images to an adversarial set.
        evaluate: from a defended model and images to an evaluation.
        store: where redrawn images are kept.
        seed: of the noise that redraws.
        draws: how often the last images are redrawn, where the defense is random by image.
    """

    attack: Callable[[Classifier, Attack, Split], AdversarialSet]
    evaluate: Callable[[Defended, AdversarialSet | Split], Evaluation]
    store: ArtifactStore
    seed: int
    draws: int

    def run(self, defended: Defended, stages: Sequence[Stage], split: Split, before: Mapping[str, Tensor]) -> WorstCase:
        """Images that `defended` answers wrongly as they are, then under each stage; where it draws, redrawn at last.

        Raises:
            SettingsError: as `Bench.worst_case` does.
        """
        check_stages(stages)
        if defended.random_by_image:
            ball_of(stages[0].attack)  # its error comes now, and not after all attacks
        worst = WorstCase.start(defended.name, self.evaluate(defended, split), before)
        tried: list[Tensor] = []  # what each stage made, in the places of all images
        for number, stage in enumerate(stages, 1):
            rows = worst.held
            if len(rows) == 0:
                return worst
            left = split.subset(rows, name=f"{split.name}, what attack {number} of a cascade gets")
            made = self.attack(stage.surface, stage.attack, left)
            tried.append(split.x.index_copy(0, rows, made.x))
            worst = self._after(worst, stage.title, defended, made)
        if not defended.random_by_image or len(worst.held) == 0:
            return worst
        rows = worst.held
        left = split.subset(rows, name=f"{split.name}, what a cascade redraws")
        made = self._redrawn(defended, left, torch.stack([x[rows] for x in tried]), stages[0])
        return self._after(worst, str(made.provenance["title"]), defended, made)

    def redrawn(self, defended: Defended, made: AdversarialSet, stage: Stage) -> AdversarialSet:
        """`made` by the attack of `stage`, with what `defended` still answers rightly, clean and attacked, redrawn.

        Raises:
            SettingsError: the attack has no budget, or one in another norm than L∞ and L2.
        """
        ball_of(stage.attack)
        wrong = self.evaluate(defended, made.clean).wrong | self.evaluate(defended, made).wrong
        rows = torch.logical_not(wrong).nonzero()[:, 0]
        if len(rows) == 0:
            return made
        left = made.clean.subset(rows, name=f"{made.clean.name}, what is redrawn")
        again = self._redrawn(defended, left, made.x[rows][None], stage)
        provenance = {**made.provenance, "redraws": self.draws}
        return replace(made, x=made.x.index_copy(0, rows, again.x), provenance=provenance)

    def _after(self, worst: WorstCase, title: str, defended: Defended, made: AdversarialSet) -> WorstCase:
        part = self.evaluate(defended, made)
        counts = len(part) > LEAST_SHARE * len(worst)
        about = f"{title}, {len(part)} of {len(worst)} images"
        return worst.after(title, part, [f"{about}: {check}" for check in part.checks] if counts else [])

    def _redrawn(self, defended: Defended, left: Split, tried: Tensor, stage: Stage) -> AdversarialSet:
        """`left` redrawn around what came nearest among `tried` (stages, N, C, H, W); from the store, or now."""
        code = [code_fingerprint(defended.decide_batch), source_fingerprint(redraw)]
        causes = [stage.surface.fingerprint, defended.name, defended.fingerprint, code, left.fingerprint, tried]
        budget = [stage.attack.norm, stage.attack.eps, self.draws, self.seed]

        def build() -> Artifact:
            at = nearest(stage.surface, tried, left.y)
            made = redraw(defended, left, at, stage.attack, draws=self.draws, seed=self.seed)
            return Artifact({"x": made.x.contiguous(), "found": made.success}, {"provenance": made.provenance})

        artifact, _ = self.store.get_or_build("redrawn", fingerprint(["redrawn", 1, causes, budget]), build)
        found = artifact.tensors["found"]
        return AdversarialSet(
            left, artifact.tensors["x"], found, torch.zeros_like(found), provenance=artifact.metadata["provenance"]
        )


def nearest(surface: Classifier, tried: Tensor, y: Tensor) -> Tensor:
    """Of several images for each label the one that `surface` is most sure to be something else.

    Args:
        surface: whose log-odds of being wrong count.
        tried: float32 of shape (M, N, C, H, W).
        y: labels, int64 of shape (N,).
    """
    each = [surface.logits_of(x) for x in tried]
    read = [rejection_counts_as(logits, y) if surface.rejects else logits for logits in each]
    best = torch.stack([runner_up(logits, y) for logits in read]).argmax(0)
    return tried[best, torch.arange(len(y))]


def check_stages(stages: Sequence[Stage]) -> None:
    """Raise SettingsError unless there are stages, all of one norm and budget: the worst of several budgets is none."""
    if not stages:
        raise SettingsError("a cascade needs at least one attack: Stage(surface, attack), or multi_targeted(...).")
    budgets = {(stage.attack.norm, stage.attack.budget): stage.attack for stage in stages}
    if len(budgets) > 1:
        first, other, *_ = budgets.values()
        raise SettingsError(
            f"the attacks of a cascade share one norm and budget, but {first.title} and {other.title} do not: make a "
            "cascade for each."
        )
