"""What every paper's study shares: its bench, its file of figures, and claims with both filled in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import Tensor

from pytest_robust.attacks.attack import Attack
from pytest_robust.attacks.redraw import REDRAWS
from pytest_robust.bench.bench import Bench
from pytest_robust.bench.cascade import MOST_TARGETS, multi_targeted
from pytest_robust.claims.claim import Claim, figures_of, with_checks
from pytest_robust.claims.paper import Paper
from pytest_robust.data.split import Split
from pytest_robust.evaluation.verdict import Interval, Judgement, Verdict
from pytest_robust.evaluation.worst_case import WorstCase
from pytest_robust.threats.defended import Defended, ThreatModel

#: Starts of PGD in the cascade of an adaptive row, where the paper's file names none (our choice).
RESTARTS = 10
#: Surfaces of the cascade: the defense's own, its network as it is, and what only some offer, each beside the first.
SURFACES: tuple[str, ...] = (ThreatModel.ADAPTIVE, ThreatModel.WHITE_BOX, "scaled")


class PaperStudy:
    """Base of the papers' studies.

    Args:
        bench: data, training, attacks and evaluation.
        paper: the paper's claims and figures.
    """

    def __init__(self, bench: Bench, paper: Paper) -> None:
        self.bench = bench
        self.paper = paper

    def claim(
        self,
        number: str,
        defense: str,
        measured: Interval | None,
        judgement: Judgement,
        *,
        comparison: str,
        threshold: str,
        attack: str = "",
        threat_model: str = "",
        shown: str | None = None,
        paper: Iterable[float] = (),
        checks: Iterable[str] = (),
        note: str = "",
    ) -> Claim:
        """A judged claim of this paper about the defense titled `defense`.

        Args:
            number: of the claim, as in the paper's file.
            defense: title of the defense.
            measured: the figure that was judged; None for a structural claim.
            judgement: of the figure.
            comparison: what was asked for, with `threshold`: ``">"`` and ``"0"``.
            threshold: for people.
            attack: registered name.
            threat_model: what the attacker saw.
            shown: the figure in words, where its own text does not say enough.
            paper: the paper's figures, as shares.
            checks: what makes the evaluation unreliable, a sentence each.
            note: a second count that the paper does not print.
        """
        settings = self.bench.settings
        judged = with_checks(judgement, checks)
        figures = tuple(paper)
        return Claim(
            paper=self.paper.key,
            claim=number,
            statement=self.paper.statement(number),
            defense=defense,
            dataset=settings.dataset,
            scale=settings.scale,
            attack=attack,
            threat_model=threat_model,
            measured=str(measured) if shown is None else shown,
            **figures_of(measured),
            comparison=comparison,
            threshold=threshold,
            paper_figure=self.paper.cite(settings.dataset, *figures) if figures else "",
            verdict=judged.verdict,
            reason=judged.reason,
            note=note,
        )

    def worst_case(
        self,
        defended: Defended,
        surfaces: Iterable[str],
        attack: Attack,
        images: Split,
        before: Mapping[str, Tensor],
        *,
        restarts: int = RESTARTS,
    ) -> WorstCase:
        """The cascade of an adaptive row, on what other attacks left: restarts, then each wrong class, on all surfaces.

        Args:
            defended: what is attacked.
            surfaces: by threat model or name; those that it does not offer are passed over.
            attack: PGD with the row's budget.
            images: the row's.
            before: which of them other attacks of no larger budget broke, bool of shape (N,), by name.
            restarts: starts of the untargeted attack.
        """
        offered = [defended.surface(name) for name in surfaces if str(name) in defended.surfaces]
        classes = self.bench.dataset.num_classes
        stages = multi_targeted(offered, attack, num_classes=classes, restarts=restarts)
        return self.bench.worst_case(defended, stages, images, before=before)

    @staticmethod
    def in_words(defended: Defended, others: str, *, restarts: int = RESTARTS) -> str:
        """What the figure of `worst_case` is, and of what other attacks."""
        starts = f"{restarts} restarts" if restarts > 1 else "one start"
        redrawn = f", {REDRAWS} redraws of its random numbers" if defended.random_by_image else ""
        towards = "each wrong class" if defended.num_classes - 1 <= MOST_TARGETS else f"the {MOST_TARGETS} likeliest"
        return f"per image the worst of PGD with {starts}, PGD at {towards}{redrawn} and {others}"

    def inform(
        self,
        number: str,
        defense: str,
        measured: Interval,
        *,
        attack: str,
        threat_model: str,
        shown: str | None = None,
        paper: Iterable[float] = (),
        checks: Iterable[str] = (),
    ) -> Claim:
        """A figure shown beside the claim `number`, which judges nothing; what weakens it is said in its note."""
        return self.claim(
            number,
            defense,
            measured,
            Judgement(Verdict.INFORMATION),
            comparison="",
            threshold="",
            attack=attack,
            threat_model=threat_model,
            shown=shown,
            paper=paper,
            note="; ".join(sorted(set(checks))),
        )
