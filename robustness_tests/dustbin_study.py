"""The dustbin paper's study: its three networks, its five attacks, and what the former make of the latter."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from pytest_robust.attacks.adversarial_set import AdversarialSet
from pytest_robust.bench.bench import Bench
from pytest_robust.claims.claim import Claim, figures_of, with_checks
from pytest_robust.claims.paper import Paper
from pytest_robust.data.split import Split
from pytest_robust.defenses.dustbin import Dustbin
from pytest_robust.evaluation.evaluation import Evaluation
from pytest_robust.evaluation.verdict import Interval, Judgement
from pytest_robust.threats.defended import Defended, ThreatModel

PAPER = Paper.read(Path(__file__).parent / "claims" / "dustbin.toml")
#: Registered names of FGS, T-FGS, I-FGS, DeepFool and C&W.
ATTACKS = ("fgsm", "fgsm_targeted", "bim", "deepfool", "cw_l2")
#: Where an attack pushes C&W's images: each to both, so that every image counts twice.
CW_TARGETS = ("least_likely", "most_likely")


class DustbinStudy:
    """Everything that the paper's claims look at, made when first asked for.

    Args:
        bench: data, training, attacks and evaluation.
    """

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self._sets: dict[str, AdversarialSet] = {}

    def defended(self, variant: str) -> Defended:
        """The naive network, or one of the two augmented ones, under the names of the figures' file."""
        defense = {"naive": "none", "augmented": Dustbin(interpolated=0.0), "interpolated": Dustbin()}[variant]
        return self.bench.defend(defense)

    @cached_property
    def attacked(self) -> Split:
        """Test images that the attacker's surrogate classifies correctly (section VI)."""
        return self.bench.correctly_classified(self.bench.surrogate, self.bench.test_split)

    def adversaries(self, attack: str) -> AdversarialSet:
        """Black-box adversaries, crafted on the surrogate; C&W's are two for each image."""
        if attack not in self._sets:
            self._sets[attack] = self._craft(attack)
        return self._sets[attack]

    def _craft(self, attack: str) -> AdversarialSet:
        settings = self.bench.settings
        params: dict[str, Any] = PAPER.attack_params(settings.dataset, settings.scale, attack)
        if attack != "cw_l2":
            return self.bench.attack(self.bench.surrogate, self.bench.attack_named(attack, **params), self.attacked)
        images = self.attacked.sample(PAPER.setup(settings.dataset, "cw_l2")["images"], settings.seed)
        targeted = [self.bench.attack_named(attack, target=target, **params) for target in CW_TARGETS]
        return AdversarialSet.cat([self.bench.attack(self.bench.surrogate, chosen, images) for chosen in targeted])

    def under(self, variant: str, attack: str) -> Evaluation:
        """What a network makes of an attack's adversaries."""
        return self.bench.evaluate(self.defended(variant), self.adversaries(attack))

    def clean(self, variant: str) -> Evaluation:
        """What a network makes of the clean test images."""
        return self.bench.evaluate(self.defended(variant))

    def foreign(self, variant: str) -> Evaluation:
        """What a network makes of out-distribution test images."""
        return self.bench.evaluate(self.defended(variant), self.bench.out_distribution_test_split)

    def far_from_classes(self, variant: str, attack: str) -> torch.Tensor:
        """Relative distance of each adversary from its nearest class, in a network's penultimate features."""
        from pytest_robust.evaluation.features import ClassGeometry

        network = self.defended(variant).networks["network" if variant == "naive" else "augmented"]
        train = self.bench.train_split
        geometry = ClassGeometry.of(network.features_of(train.x), train.y)
        return geometry.distance(network.features_of(self.adversaries(attack).x))

    def claim(
        self,
        number: str,
        variant: str,
        measured: Interval | None,
        judgement: Judgement,
        *,
        comparison: str,
        threshold: str,
        attack: str = "",
        shown: str | None = None,
        paper: Iterable[float] = (),
        checks: Iterable[str] = (),
        note: str = "",
    ) -> Claim:
        """A judged claim of this paper about one of its networks."""
        settings = self.bench.settings
        judged = with_checks(judgement, checks)
        figures = tuple(paper)
        return Claim(
            paper=PAPER.key,
            claim=number,
            statement=PAPER.statement(number),
            defense=self.defended(variant).name,
            dataset=settings.dataset,
            scale=settings.scale,
            attack=attack,
            threat_model=ThreatModel.TRANSFER if attack else "",
            measured=str(measured) if shown is None else shown,
            **figures_of(measured),
            comparison=comparison,
            threshold=threshold,
            paper_figure=PAPER.cite(settings.dataset, *figures) if figures else "",
            verdict=judged.verdict,
            reason=judged.reason,
            note=note,
        )
