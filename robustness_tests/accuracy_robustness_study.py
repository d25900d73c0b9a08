"""The study of Rozsa, Günther & Boult: smallest adversarial steps on a family of networks, and whom else they fool."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

from study import PaperStudy

from pytest_robust.attacks.attack import Attack
from pytest_robust.bench.bench import Bench
from pytest_robust.claims.claim import Claim
from pytest_robust.claims.paper import Paper
from pytest_robust.errors import FamilyError
from pytest_robust.evaluation.mean import Mean, paired_mean_difference
from pytest_robust.evaluation.verdict import Interval, Judgement
from pytest_robust.models.family import Family
from pytest_robust.studies.crossed import Crossed, cross
from pytest_robust.studies.paired import paired_entries
from pytest_robust.studies.portability import PortabilityMatrix
from pytest_robust.studies.ranking import RobustnessRanking
from pytest_robust.threats.defended import ThreatModel

PAPER = Paper.read(Path(__file__).parent / "claims" / "accuracy_robustness.toml")
#: Fast gradient sign, fast gradient value, hot/cold with the most similar class hot (HC1).
ATTACKS = ("fgs", "fgv", "hot_cold")
#: Those whose steps are not the same for every pixel.
VALUED = ("fgv", "hot_cold")


class AccuracyRobustnessStudy(PaperStudy):
    """Everything that the paper's claims look at, made when first asked for.

    The networks are undefended, and the attacker has the one it attacks.

    Args:
        bench: data, the family of the run, attacks and evaluation.
    """

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench, PAPER)
        settings = bench.settings
        sizes: dict[str, Any] = PAPER.data["scale"][settings.scale]
        self._limit: int = sizes.get(settings.dataset, sizes["any"])["images"]
        self._unloaded = False

    @cached_property
    def crossed(self) -> Crossed:
        """Every attack on every network, tested on every network."""
        attacks = [self.attack(name) for name in ATTACKS]
        return cross(self._family, self.bench.test_images, attacks, self.bench, limit=self._limit)

    @property
    def _family(self) -> Family:
        """The run's; where it cannot be loaded, the first test says why, and the others say that it did."""
        if self._unloaded:
            raise FamilyError("the family cannot be loaded, for the reason that the first test which needed it gives.")
        try:
            return self.bench.family()
        except FamilyError:
            self._unloaded = True
            raise

    @cached_property
    def ranking(self) -> RobustnessRanking:
        """Figure 2."""
        ranking = RobustnessRanking.from_crossed(self.crossed)
        self.bench.ledger.note("studied", "robustness ranking", 0.0, study=ranking.as_dict())
        return ranking

    @cached_property
    def portability(self) -> PortabilityMatrix:
        """Figure 3."""
        matrix = PortabilityMatrix.from_crossed(self.crossed)
        self.bench.ledger.note("studied", "portability matrix", 0.0, study=matrix.as_dict())
        return matrix

    def attack(self, name: str) -> Attack:
        """A registered attack with the paper's parameters."""
        settings = self.bench.settings
        return self.bench.attack_named(name, **PAPER.attack_params(settings.dataset, settings.scale, name))

    def larger(self, field: str, attack: str, other: str) -> Mean:
        """Mean of a field of `Crafted` under one attack minus that under another, on what both succeeded on.

        Paired by image and network; the interval counts images.
        """
        first, second, image = paired_entries(self.crossed, field, attack, other)
        return paired_mean_difference(first, second, image)

    def judged(
        self,
        number: str,
        attack: str,
        measured: Interval,
        judgement: Judgement | None,
        *,
        comparison: str,
        threshold: str,
        checks: Iterable[str],
        shown: str | None = None,
        paper: Iterable[float] = (),
        note: str = "",
    ) -> Claim:
        """A claim about the family; where nothing is asserted (no `judgement`), its figure alone."""
        about = {"attack": attack, "threat_model": str(ThreatModel.WHITE_BOX), "shown": shown, "paper": paper}
        if judgement is None:
            return self.inform(number, self.title, measured, checks=checks, **about)  # type: ignore[arg-type]
        return self.claim(
            number,
            self.title,
            measured,
            judgement,
            comparison=comparison,
            threshold=threshold,
            checks=checks,
            note=note,
            **about,  # type: ignore[arg-type]
        )

    @property
    def title(self) -> str:
        """How reports call what is tested: no defense, and whose networks."""
        return f"none, family {self.crossed.family}"
