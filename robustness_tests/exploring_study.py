"""The study of Wang, Kunin & Pyron: their plain network, its minimal and extended adversaries, three defenses."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import torch
from study import SURFACES, PaperStudy
from torch import Tensor

from pytest_robust.attacks.adversarial_set import AdversarialSet
from pytest_robust.attacks.attack import Attack
from pytest_robust.bench.bench import Bench
from pytest_robust.bench.defense import Defense
from pytest_robust.claims.claim import Claim
from pytest_robust.claims.paper import Paper
from pytest_robust.data.images import random_subset
from pytest_robust.data.split import Split
from pytest_robust.defenses.dropout_autoencoder import DropoutAutoencoder
from pytest_robust.defenses.dropout_ensemble import DropoutEnsemble, plain_recipe, votes
from pytest_robust.defenses.gac import GenerativeAdversarialClassifier
from pytest_robust.evaluation.auroc import Auroc
from pytest_robust.evaluation.evaluation import Evaluation
from pytest_robust.evaluation.mean import Mean, paired_mean_difference
from pytest_robust.evaluation.pairs import PairCounts
from pytest_robust.evaluation.rate import Rate
from pytest_robust.evaluation.verdict import Interval, Judgement
from pytest_robust.evaluation.worst_case import WorstCase
from pytest_robust.models.classifier import Classifier
from pytest_robust.models.exploring_networks import GenerativeAdversarial
from pytest_robust.threats.defended import Defended, ThreatModel

PAPER = Paper.read(Path(__file__).parent / "claims" / "exploring.toml")
#: The adversaries: stopped as soon as they fool the plain network, and several steps later.
KINDS = ("minimal", "extended")
#: The defenses under the names of this study; "variance" is the ensemble with the paper's own score.
DEFENSES: dict[str, Defense] = {
    "dropout_ensemble": DropoutEnsemble(),
    "variance": DropoutEnsemble(score="variance"),
    "dropout_autoencoder": DropoutAutoencoder(),
    "gac_mlp": GenerativeAdversarialClassifier(version="mlp"),
    "gac_conv": GenerativeAdversarialClassifier(version="conv"),
}


class ExploringStudy(PaperStudy):
    """Everything that the paper's claims look at, made when first asked for.

    An adversary is an image that fools the plain network, as in the paper: what the attack did not get across the
    boundary is counted in `attempted` and nowhere else. It is *thwarted* by a defended model that does not answer its
    target, the wrong class that it was made for ("fail to fool", section 3.1).

    Args:
        bench: data, training, attacks and evaluation.
    """

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench, PAPER)
        self._attempted: dict[str, AdversarialSet] = {}

    def title(self, name: str) -> str:
        """How reports call a defense."""
        return DEFENSES[name].title

    def defended(self, name: str) -> Defended:
        """A defense, trained."""
        _ = self._trained
        return self.bench.defend(DEFENSES[name])

    @cached_property
    def _trained(self) -> list[Classifier]:
        # What does not depend on the plain network's adversaries goes first; the longest of it is left for the time
        # when the autoencoder, which does, is trained beside it.
        mlp, conv = (DEFENSES[f"gac_{v}"] for v in ("mlp", "conv"))
        assert isinstance(mlp, GenerativeAdversarialClassifier)
        assert isinstance(conv, GenerativeAdversarialClassifier)
        bench, autoencoder = self.bench, DropoutAutoencoder()
        gac = [conv.plain_recipe(bench), mlp.recipe(bench), mlp.plain_recipe(bench)]
        first = bench.train_all([plain_recipe(bench), *gac])
        return first + bench.train_all([conv.recipe(bench), autoencoder.recipe(bench)])

    @cached_property
    def plain(self) -> Classifier:
        """The network that the adversaries are made on, and that the first two defenses defend."""
        _ = self._trained
        return self.bench.train(plain_recipe(self.bench))

    @cached_property
    def originals(self) -> Split:
        """Test images that the plain network classifies correctly (section 3.2), as many as the scale attacks."""
        settings = self.bench.settings
        images = self.paper.setup(settings.dataset, "originals")[settings.scale]
        return self.bench.correctly_classified(self.plain, self.bench.test_sample(images))

    def attempted(self, kind: str) -> AdversarialSet:
        """Every original pushed towards every wrong class, whether it got there or not."""
        if kind not in self._attempted:
            settings = self.bench.settings
            params = self.paper.attack_params(settings.dataset, settings.scale, "ascent")
            if kind == "extended":
                params |= self.paper.setup(settings.dataset, "extended")
            targets = [f"label+{k}" for k in range(1, self.bench.dataset.num_classes)]
            attacks = [self.bench.attack_named("ascent", target=target, **params) for target in targets]
            self._attempted[kind] = AdversarialSet.cat(
                [self.bench.attack(self.plain, a, self.originals) for a in attacks]
            )
        return self._attempted[kind]

    def adversaries(self, kind: str) -> AdversarialSet:
        """Those that fool the plain network."""
        attempted = self.attempted(kind)
        return attempted.subset(attempted.success)

    def fooled(self, kind: str) -> str:
        """How many of the attempts are adversaries, in words."""
        success = self.attempted(kind).success
        return f"{int(success.sum())} adversaries of {len(success)} (image, target) pairs attacked"

    def under(self, name: str, kind: str) -> Evaluation:
        """What a defense makes of the adversaries."""
        return self.bench.evaluate(self.defended(name), self.adversaries(kind))

    def on_originals(self, name: str) -> Evaluation:
        """What a defense makes of the originals, all of which the plain network has right."""
        return self.bench.evaluate(self.defended(name), self.originals)

    def thwarted(self, name: str, kind: str) -> Tensor:
        """Bool of shape (adversaries,): the defense does not give the answer that the adversary was made for."""
        decision, targets = self.under(name, kind).decision, self.adversaries(kind).targets
        assert targets is not None
        return (decision.label != targets) | decision.rejected

    def thwarted_share(self, name: str, kind: str) -> Rate:
        """Share of the adversaries that are thwarted; the interval counts originals."""
        return Rate.of(self.thwarted(name, kind), independent=self._independent(kind))

    def thwarted_pairs(self, name: str, kind: str) -> PairCounts:
        """Thwarted adversaries by (original, target) class."""
        adversaries = self.adversaries(kind)
        assert adversaries.targets is not None
        mask = self.thwarted(name, kind)
        return PairCounts.of(mask, adversaries.y, adversaries.targets, self.bench.dataset.num_classes)

    def votes(self, x: Tensor) -> Tensor:
        """How many passes of the dropout ensemble name each class, float64 of shape (N, K), for images (N, C, H, W)."""
        ensemble = DEFENSES["dropout_ensemble"]
        assert isinstance(ensemble, DropoutEnsemble)
        return votes(ensemble.ensemble_of(self.plain, self.bench)(x.to(self.bench.device))).cpu()

    def generated(self, name: str, x: Tensor) -> Tensor:
        """What the generator of a GAC makes of images, float32 (N, C, H, W); not clipped, as in its training."""
        network = self.defended(name).networks["network"].network
        assert isinstance(network, GenerativeAdversarial)
        with torch.no_grad():
            return network.generator(x.to(self.bench.device)).float().cpu()

    def _independent(self, kind: str) -> int:
        image = self.adversaries(kind).image
        assert image is not None
        return int(image.unique().numel())

    def more_thwarted(self, first: tuple[str, str], second: tuple[str, str]) -> Mean:
        """Share that the first (defense, kind) thwarts minus that of the second, on what is an adversary in both."""
        return self.paired([(kind, self.thwarted(name, kind).double()) for name, kind in (first, second)])

    def paired(self, values: Iterable[tuple[str, Tensor]]) -> Mean:
        """Mean of the first minus mean of the second, of values per adversary of a kind, paired by image and target."""
        attempts, columns = [], []
        for kind, value in values:
            attempts.append(self.attempted(kind))
            column = torch.zeros(len(attempts[-1]), dtype=torch.float64)
            column[attempts[-1].success] = value.double()
            columns.append(column)
        both, image = attempts[0].success & attempts[1].success, attempts[0].image
        assert image is not None
        return paired_mean_difference(columns[0][both], columns[1][both], image[both])

    def auroc(self, name: str, kind: str) -> Auroc:
        """AUROC of a defense's score as a detector of adversaries among originals; its interval counts originals."""
        return self.under(name, kind).auroc_against(self.on_originals(name))

    def plain_beside(self, name: str) -> Classifier:
        """The plain classifier that was trained in step with a GAC."""
        return self.defended(name).networks["plain"]

    def gained(self, name: str, kind: str) -> Mean:
        """Accuracy of a GAC on the adversaries minus that of the plain classifier trained in step with it, paired."""
        adversaries = self.adversaries(kind)
        plain = self.plain_beside(name).predict(adversaries.x) == adversaries.y
        return paired_mean_difference(self.under(name, kind).correct.double(), plain.double(), adversaries.image)

    def under_adaptive(self, name: str) -> Evaluation:
        """What a defense makes of PGD in L2 on its own adaptive surface, at the paper's limit for this many pixels."""
        defended = self.defended(name)
        surface = self.bench.surface(defended, ThreatModel.ADAPTIVE)
        return self.bench.evaluate(defended, self.bench.attack(surface, self._pgd, self.adaptive_originals))

    def worst_adaptive(self, name: str) -> WorstCase:
        """What a defense makes of a cascade of that PGD, after the one and every adversary within its budget.

        The adversaries are the plain network's: who knows the defense can also try what does not.
        """
        ascent = torch.zeros(len(self.originals), dtype=torch.bool)
        for kind in KINDS:
            under = self.under(name, kind)
            assert under.image is not None
            ascent[under.image[under.wrong & (under.norms["l2"] <= self._adaptive_eps)]] = True
        before = {"pgd": self.under_adaptive(name).wrong, "ascent": ascent[self._adaptive_rows]}
        defended, images = self.defended(name), self.adaptive_originals
        return self.worst_case(defended, SURFACES, self._pgd, images, before, restarts=self.restarts)

    @property
    def restarts(self) -> int:
        """Starts of the cascade's untargeted attack."""
        settings = self.bench.settings
        found: int = self.paper.setup(settings.dataset, "adaptive")["restarts"][settings.scale]
        return found

    @property
    def adaptive_originals(self) -> Split:
        """The originals that the adaptive attacker takes: each costs thousands of passes over masks."""
        return self.originals.subset(self._adaptive_rows, name=f"{self.originals.name}, of the adaptive attacker")

    @cached_property
    def _adaptive_rows(self) -> Tensor:
        settings = self.bench.settings
        images = self.paper.setup(settings.dataset, "adaptive")["images"][settings.scale]
        return random_subset(len(self.originals), images, settings.seed, self.originals.name)[0]

    @property
    def _pgd(self) -> Attack:
        settings, eps = self.bench.settings, self._adaptive_eps
        steps = self.paper.setup(settings.dataset, "adaptive")[settings.scale]
        return self.bench.attack_named("pgd", norm=2, eps=eps, eps_step=eps / 10, max_iter=steps)

    @property
    def _adaptive_eps(self) -> float:
        per_root_pixel: float = self.paper.setup(self.bench.settings.dataset, "adaptive")["l2_per_root_pixel"]
        return per_root_pixel * math.sqrt(math.prod(self.bench.dataset.input_shape[1:]))

    def absolute(
        self,
        number: str,
        name: str,
        measured: Interval,
        judgement: Judgement | None,
        *,
        kind: str = "",
        comparison: str,
        threshold: str,
        shown: str | None = None,
        figure: str = "",
    ) -> Claim:
        """A claim about the paper's own threshold; where that is not asserted (no `judgement`), its figure alone."""
        attack, threat_model = ("ascent", str(ThreatModel.GRAY_BOX)) if kind else ("", "")
        words = f"{kind}: {measured if shown is None else shown}" if kind else shown
        if judgement is None:
            claim = self.inform(
                number, self.title(name), measured, attack=attack, threat_model=threat_model, shown=words
            )
        else:
            claim = self.claim(
                number,
                self.title(name),
                measured,
                judgement,
                attack=attack,
                threat_model=threat_model,
                comparison=comparison,
                threshold=threshold,
                shown=words,
                checks=self.under(name, kind).checks if kind else (),
            )
        return cited(claim, figure)


def cited(claim: Claim, figure: str) -> Claim:
    """The claim with the paper's figure in words: it prints few, and most for CIFAR-10 alone."""
    return replace(claim, paper_figure=figure)
