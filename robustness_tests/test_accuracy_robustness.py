"""The claims of Rozsa, Günther & Boult: are accuracy and robustness correlated?

Undefended networks of a family (``--family``; by default the one that goes with the data set) are attacked with the
smallest step that changes the label of the 8-bit image, each on the images that all of them classify correctly. D
claims are directions and are asserted on every family; the A claim is the paper's own threshold, asserted at
``--scale=paper`` on ImageNet. Intervals are over images: they say how the same networks would come out on other
images, not how other networks would.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from accuracy_robustness_study import ATTACKS, PAPER, VALUED, AccuracyRobustnessStudy

from pytest_robust.bench.bench import Bench
from pytest_robust.claims.claim import Claim, all_of
from pytest_robust.evaluation.rate import Rate
from pytest_robust.evaluation.verdict import above, at_least, below
from pytest_robust.reports.study_figures import draw_portability, draw_ranking
from pytest_robust.studies.contrasts import across_groups, elsewhere, mean_portability, more_portable, within_groups
from pytest_robust.studies.metrics import METRICS
from pytest_robust.studies.paired import larger_on

Record = Callable[[Claim], None]

pytestmark = pytest.mark.robust(defense="none")


def about(claim: str, attack: str) -> pytest.MarkDecorator:
    """The marker of a test whose attack is a parameter."""
    return pytest.mark.robust(paper="accuracy_robustness", claim=claim, attack=attack)


def each(claim: str, attacks: tuple[str, ...]) -> list[object]:
    """The attacks as parameters that carry their marker."""
    return [pytest.param(attack, marks=about(claim, attack)) for attack in attacks]


@pytest.fixture(scope="module")
def study(robust_bench: Bench) -> AccuracyRobustnessStudy:
    return AccuracyRobustnessStudy(robust_bench)


def correlation(study: AccuracyRobustnessStudy, number: str, attack: str, metric: str) -> Claim:
    """Spearman's ρ between accuracy and a figure: above 0 for sizes of perturbations, below 0 for PASS.

    Of too few networks it is a figure without a verdict: whatever their order, it may be chance.
    """
    rho, common = (found[attack][metric] for found in (study.ranking.correlations, study.ranking.common))
    falls = metric == "pass_score"
    chance = rho.p_less if falls else rho.p_greater
    others = {"l2": ("l2_median",), "linf": ("floor",), "pass_score": ()}[metric]
    beside = [f"{METRICS[name]}: {study.ranking.correlations[attack][name]}" for name in others]
    return study.judged(
        number,
        attack,
        rho,
        (below if falls else above)(rho, 0.0) if rho.telling else None,
        comparison=("<" if falls else ">") if rho.telling else "",
        threshold="0" if rho.telling else "",
        shown=f"{METRICS[metric]}: {rho}{'' if rho.telling else '; no verdict'}",
        checks=study.crossed.size_checks(attack),
        note="; ".join(
            [
                f"{METRICS[metric]}: a chance order of {rho.networks} networks does as much with p = {chance:.3f}",
                f"on the images that fool all networks: {common}",
                *beside,
            ]
        ),
    )


@pytest.mark.parametrize("metric", ["l2", "linf"])
@pytest.mark.parametrize("attack", each("1D", ATTACKS))
def test_perturbations_grow_with_accuracy(
    study: AccuracyRobustnessStudy, robust_record: Record, attack: str, metric: str
) -> None:
    """1D: the more accurate a network, the larger the smallest adversarial perturbation."""
    robust_record(correlation(study, "1D", attack, metric))


@pytest.mark.parametrize("attack", each("2D", ATTACKS))
def test_pass_falls_with_accuracy(study: AccuracyRobustnessStudy, robust_record: Record, attack: str) -> None:
    """2D: the more accurate a network, the less its adversarial images look like their originals."""
    robust_record(correlation(study, "2D", attack, "pass_score"))


@pytest.mark.parametrize("attack", each("3D", VALUED))
def test_larger_linf_at_comparable_pass(study: AccuracyRobustnessStudy, robust_record: Record, attack: str) -> None:
    """3D: FGV and HC1 move a pixel further than FGS, and their images look as much like the originals, or more."""
    margin = float(PAPER.setup(study.bench.settings.dataset, "comparable")["pass_margin"])
    further, alike = (study.larger(field, attack, "fgs") for field in ("linf", "pass_score"))
    agreeing = larger_on(study.crossed, "linf", attack, "fgs")
    robust_record(
        study.judged(
            "3D",
            attack,
            further,
            all_of([above(further, 0.0), at_least(alike, -margin)]),
            comparison=">",
            threshold=f"0, PASS >= {-margin:g}",
            shown=f"L∞ {further}, PASS {alike}",
            checks=[*study.crossed.size_checks(attack), *study.crossed.size_checks("fgs")],
            note=f"mean L∞ is larger on {len(agreeing)} of {len(study.ranking.networks)} networks",
        )
    )


@pytest.mark.robust(paper="accuracy_robustness", claim="4A", attack="hot_cold")
def test_hot_cold_succeeds_everywhere(study: AccuracyRobustnessStudy, robust_record: Record) -> None:
    """4A: HC1 succeeds on 99 % of the images, on every network."""
    settings = study.bench.settings
    least = PAPER.threshold(settings.dataset, "hot_cold_success") if settings.scale == "paper" else None
    rates: dict[str, Rate] = {}
    for network in study.ranking.networks:
        rate = study.ranking.entry("hot_cold", network).figures["success"]
        assert isinstance(rate, Rate)
        rates[network] = rate
    lowest = min(rates, key=lambda network: rates[network].value)
    robust_record(
        study.judged(
            "4A",
            "hot_cold",
            rates[lowest],
            None if least is None else all_of(at_least(rate, least) for rate in rates.values()),
            comparison="" if least is None else ">=",
            threshold="" if least is None else f"{least:g}",
            shown=f"lowest on {lowest}: {rates[lowest]}",
            paper=[PAPER.figure(settings.dataset, "hot_cold_success")],
            checks=study.crossed.checks("hot_cold"),
        )
    )


@pytest.mark.parametrize("attack", each("5D", VALUED))
def test_fgs_is_more_portable(study: AccuracyRobustnessStudy, robust_record: Record, attack: str) -> None:
    """5D: what fools one network by FGS fools another more often than what does by FGV or HC1."""
    cells = elsewhere(study.crossed)
    more = more_portable(study.crossed, ("fgs", cells), (attack, cells))
    fgs, other = (mean_portability(study.crossed, name, cells) for name in ("fgs", attack))
    robust_record(
        study.judged(
            "5D",
            attack,
            more,
            above(more, 0.0),
            comparison=">",
            threshold="0",
            shown=f"FGS {fgs.value:.1%}, {attack} {other.value:.1%}: difference {more}",
            checks=[*study.crossed.checks("fgs"), *study.crossed.checks(attack)],
        )
    )


@pytest.mark.parametrize("attack", each("6D", ATTACKS))
def test_more_portable_inside_an_architecture(
    study: AccuracyRobustnessStudy, robust_record: Record, attack: str
) -> None:
    """6D: adversarial images fool networks of the same architecture more often than others."""
    inside, across = within_groups(study.crossed), across_groups(study.crossed)
    if not inside or not across:
        pytest.skip("no two networks of the family share an architecture, or all do: give its members groups")
    more = more_portable(study.crossed, (attack, inside), (attack, across))
    same, other = (mean_portability(study.crossed, attack, cells) for cells in (inside, across))
    robust_record(
        study.judged(
            "6D",
            attack,
            more,
            above(more, 0.0),
            comparison=">",
            threshold="0",
            shown=f"inside {same.value:.1%}, across {other.value:.1%}: difference {more}",
            paper=PAPER.figures(study.bench.settings.dataset, "portability_inside") if attack == "fgs" else (),
            checks=study.crossed.checks(attack),
            note=f"{len(inside)} pairs inside, {len(across)} across",
        )
    )


@pytest.mark.robust(paper="accuracy_robustness", claim="7", attack=ATTACKS)
def test_figure_2_is_drawn(study: AccuracyRobustnessStudy, figures: Path) -> None:
    """7: Figure 2, the metric bars, with its table and its data."""
    ranking, stem = study.ranking, figures / "accuracy-robustness-ranking"
    page, data = stem.with_suffix(".md"), ranking.to_json(stem.with_suffix(".json"))
    page.write_text(ranking.table("github") + "\n", encoding="utf-8")
    assert all(network in page.read_text(encoding="utf-8") for network in ranking.networks)
    assert type(ranking).from_json(data).table() == ranking.table()
    assert draw_ranking(stem.with_suffix(".png"), ranking).stat().st_size > 0


@pytest.mark.robust(paper="accuracy_robustness", claim="7", attack=ATTACKS)
def test_figure_3_is_drawn(study: AccuracyRobustnessStudy, figures: Path) -> None:
    """7: Figure 3, the portability heat map, with its table and its data; self-portability is 100 %."""
    matrix, stem = study.portability, figures / "accuracy-robustness-portability"
    page, data = stem.with_suffix(".md"), matrix.to_json(stem.with_suffix(".json"))
    page.write_text(matrix.table("github") + "\n", encoding="utf-8")
    assert type(matrix).from_json(data).table() == matrix.table()
    assert draw_portability(stem.with_suffix(".png"), matrix).stat().st_size > 0
    for attack in matrix.attacks:
        assert matrix.k[attack].diagonal().equal(matrix.n[attack])
