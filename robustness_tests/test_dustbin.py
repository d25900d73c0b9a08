"""The claims of the dustbin paper (Abbasi et al.): an extra class for what belongs to no class.

Black box: adversaries are crafted on a surrogate that was trained apart. D claims are directions and are asserted on
every data set; A claims are the paper's own thresholds, asserted at ``--scale=paper`` on the paper's data sets.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from dustbin_study import ATTACKS, PAPER, VARIANTS, DustbinStudy
from dustbin_table import write_table_1
from moons import two_moons_networks

from pytest_robust.bench.bench import Bench
from pytest_robust.claims.claim import Claim
from pytest_robust.evaluation.compare import RateDifference, first_greater
from pytest_robust.evaluation.rate import MeanRate, Rate
from pytest_robust.evaluation.verdict import Judgement, Verdict, above, at_least, at_most
from pytest_robust.reports.figures import draw_decision_regions, draw_feature_spaces
from pytest_robust.threats.defended import ThreatModel

Record = Callable[[Claim], None]

AUGMENTED = ("augmented", "interpolated")
STEPS = {"naive > augmented": ("naive", "augmented"), "augmented > interpolated": ("augmented", "interpolated")}
#: Clean images drawn in the feature figure: more would hide the adversaries.
DRAWN = 300


@pytest.fixture(scope="module")
def study(robust_bench: Bench) -> DustbinStudy:
    return DustbinStudy(robust_bench)


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize(
    "attack", [pytest.param(a, marks=pytest.mark.robust(paper="dustbin", claim="1D", attack=a)) for a in ATTACKS]
)
@pytest.mark.robust(defense="dustbin")
def test_error_falls(study: DustbinStudy, robust_record: Record, attack: str, step: str) -> None:
    """1D: Err(augmented + interpolated) < Err(augmented) < Err(naive), paired on the same adversaries."""
    before, after = (study.under(variant, attack) for variant in STEPS[step])
    fell = before.error_minus(after)
    dataset = study.bench.settings.dataset
    robust_record(
        study.claim(
            "1D",
            study.title(STEPS[step][1]),
            fell,
            first_greater(fell),
            attack=attack,
            threat_model=ThreatModel.TRANSFER,
            shown=f"Err {before.error.value:.1%} → {after.error.value:.1%}: fell by {fell}",
            comparison=">",
            threshold="0",
            paper=[PAPER.figure(dataset, "error", attack, variant) for variant in STEPS[step]],
            checks=after.checks,
            note=f"of those that fooled the surrogate: {before.on_successes.error} → {after.on_successes.error}",
        )
    )


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.robust(paper="dustbin", claim="1D", defense="dustbin", attack="pgd")
def test_error_under_an_adaptive_attack(study: DustbinStudy, robust_record: Record, variant: str) -> None:
    """Beside 1D: Err when the attacker differentiates the network itself and avoids the dustbin.

    An image counts as wrong where an attack of a cascade, or a transferred one of no larger budget, succeeds on it.
    """
    under, worst = study.under_adaptive(variant), study.worst_adaptive(variant)
    robust_record(
        study.inform(
            "1D",
            study.title(variant),
            worst.error,
            attack="pgd",
            threat_model=ThreatModel.ADAPTIVE,
            shown=f"Err {worst.error}, {study.in_words(study.defended(variant), 'transfer')}; "
            f"one PGD alone Err {under.error}",
            checks=[*under.checks, *worst.checks],
        )
    )
    assert worst.error.value > study.clean(variant).error.value, "the attack changed nothing"


@pytest.mark.parametrize("threshold", ["mean_error"], indirect=True)
@pytest.mark.robust(paper="dustbin", claim="1A", defense="dustbin", attack=ATTACKS)
def test_mean_error(study: DustbinStudy, robust_record: Record, threshold: float) -> None:
    """1A: mean Err of augmented + interpolated over the five attacks."""
    evaluations = [study.under("interpolated", attack) for attack in ATTACKS]
    mean = MeanRate([e.error for e in evaluations])
    robust_record(
        study.claim(
            "1A",
            study.title("interpolated"),
            mean,
            at_most(mean, threshold),
            attack="mean of five",
            threat_model=ThreatModel.TRANSFER,
            comparison="<=",
            threshold=f"{threshold:g}",
            paper=[PAPER.figure(study.bench.settings.dataset, "mean_error", "interpolated")],
            checks=[check for e in evaluations for check in e.checks],
        )
    )


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.robust(paper="dustbin", claim="1A", defense="dustbin", attack=ATTACKS)
def test_mean_errors_of_all_networks(study: DustbinStudy, robust_record: Record, variant: str) -> None:
    """Beside 1A: the last row of Table I."""
    evaluations = [study.under(variant, attack) for attack in ATTACKS]
    robust_record(
        study.inform(
            "1A",
            study.title(variant),
            MeanRate([e.error for e in evaluations]),
            attack="mean of five",
            threat_model=ThreatModel.TRANSFER,
            paper=[PAPER.figure(study.bench.settings.dataset, "mean_error", variant)],
            checks=[check for e in evaluations for check in e.checks],
        )
    )


@pytest.mark.robust(paper="dustbin", claim="1D", defense="dustbin", attack=ATTACKS)
def test_table_1_is_written(study: DustbinStudy, figures: Path) -> None:
    """Table I: Acc, Rej and Err of every network under every attack, beside the paper's."""
    text = write_table_1(study, figures).read_text(encoding="utf-8")
    for variant in VARIANTS:
        assert f"{study.under(variant, 'fgsm').error.value:.2%}" in text
    assert f"({PAPER.figure(study.bench.settings.dataset, 'rejected', 'cw_l2', 'interpolated'):.2%})" in text


def accuracy_lost(study: DustbinStudy, number: str, variant: str, limit: float) -> Claim:
    naive, augmented = study.clean("naive"), study.clean(variant)
    lost = naive.accuracy_minus(augmented)
    dataset = study.bench.settings.dataset
    return study.claim(
        number,
        study.title(variant),
        lost,
        at_most(lost, limit),
        shown=f"Acc {naive.accuracy.value:.2%} → {augmented.accuracy.value:.2%}: lost {lost}",
        comparison="<=",
        threshold=f"{limit:g}",
        paper=[PAPER.figure(dataset, "clean", "naive"), PAPER.figure(dataset, "clean", variant)],
    )


@pytest.mark.parametrize("variant", AUGMENTED)
@pytest.mark.robust(paper="dustbin", claim="2D", defense="dustbin")
def test_clean_accuracy_is_kept(study: DustbinStudy, robust_record: Record, variant: str) -> None:
    """2D: at most 4 points of clean accuracy are lost, on any data set; paired on the test images."""
    limit = PAPER.threshold("any", "accuracy_lost")
    assert limit is not None
    robust_record(accuracy_lost(study, "2D", variant, limit))


@pytest.mark.parametrize("threshold", ["accuracy_lost"], indirect=True)
@pytest.mark.parametrize("variant", AUGMENTED)
@pytest.mark.robust(paper="dustbin", claim="2A", defense="dustbin")
def test_clean_accuracy_lost(study: DustbinStudy, robust_record: Record, variant: str, threshold: float) -> None:
    """2A: at most 0.5 points (MNIST) or 4 points (CIFAR-10) are lost."""
    robust_record(accuracy_lost(study, "2A", variant, threshold))


@pytest.mark.parametrize("variant", AUGMENTED)
@pytest.mark.robust(paper="dustbin", claim="3D", defense="dustbin")
def test_foreign_images_are_rejected_more(study: DustbinStudy, robust_record: Record, variant: str) -> None:
    """3D: out-distribution images are rejected more often than clean test images."""
    foreign, clean = study.foreign(variant).rejection, study.clean(variant).rejection
    difference = RateDifference(foreign, clean)
    robust_record(
        study.claim(
            "3D",
            study.title(variant),
            difference,
            above(difference, 0.0),
            shown=f"Rej {foreign.value:.2%} against {clean.value:.2%}: difference {difference}",
            comparison=">",
            threshold="0",
            paper=[PAPER.figure(study.bench.settings.dataset, "rejection", variant)],
        )
    )


@pytest.mark.parametrize("threshold", ["rejection"], indirect=True)
@pytest.mark.parametrize("variant", AUGMENTED)
@pytest.mark.robust(paper="dustbin", claim="3A", defense="dustbin")
def test_foreign_images_are_rejected(
    study: DustbinStudy, robust_record: Record, variant: str, threshold: float
) -> None:
    """3A: at least 99.9 % (MNIST) or 95 % (CIFAR-10) of the out-distribution test images are rejected."""
    rejection = study.foreign(variant).rejection
    robust_record(
        study.claim(
            "3A",
            study.title(variant),
            rejection,
            at_least(rejection, threshold),
            comparison=">=",
            threshold=f"{threshold:g}",
            paper=[PAPER.figure(study.bench.settings.dataset, "rejection", variant)],
        )
    )


@pytest.mark.robust(paper="dustbin", claim="4D", defense="dustbin")
def test_training_uses_no_adversaries(study: DustbinStudy, robust_record: Record) -> None:
    """4D: every training image is a given one, or halfway between two of them; what an attack made is neither."""
    unexplained, images = study.unexplained()
    clean = unexplained == 0
    robust_record(
        study.claim(
            "4D",
            study.title("interpolated"),
            None,
            Judgement(Verdict.HOLDS if clean else Verdict.FAILS, "" if clean else "other images were trained on"),
            shown=f"{unexplained} of {images} training images are neither given nor halfway between two",
            comparison="=",
            threshold="0",
        )
    )


@pytest.mark.robust(paper="dustbin", claim="5", defense="dustbin")
def test_two_moons(study: DustbinStudy, robust_record: Record, figures: Path) -> None:
    """5: Figure 2, two moons: an MLP with and without a dustbin, decision regions drawn."""
    moons = two_moons_networks(study.bench)
    drawn = draw_decision_regions(
        figures / "dustbin-two-moons.png",
        {"MLP, in-distribution only": moons.naive, "MLP with dustbin": moons.augmented},
        moons.points,
        moons.labels,
        classes=2,
    )
    foreign, own = (Rate.of(moons.augmented.predict(split.x) == 2) for split in (moons.foreign, moons.own))
    difference = RateDifference(foreign, own)
    robust_record(
        study.claim(
            "5",
            study.title("interpolated"),
            difference,
            above(difference, 0.5),
            shown=f"Rej {foreign.value:.2%} against {own.value:.2%}: difference {difference}",
            comparison=">",
            threshold="0.5",
        )
    )
    assert drawn.stat().st_size > 0


@pytest.mark.parametrize(
    "attack",
    [
        pytest.param(a, marks=pytest.mark.robust(paper="dustbin", claim="6D", attack=a))
        for a in ("fgsm", "fgsm_targeted")
    ],
)
@pytest.mark.parametrize("variant", AUGMENTED)
@pytest.mark.robust(defense="dustbin")
def test_adversaries_leave_the_classes(study: DustbinStudy, robust_record: Record, attack: str, variant: str) -> None:
    """6D: in the augmented network's features each adversary is farther from the classes; a sign test on pairs.

    The paper's Figure 4 shows the network that was augmented with foreign images alone.
    """
    naive, augmented = (study.far_from_classes(each, attack) for each in ("naive", variant))
    farther = Rate.of(augmented > naive)
    robust_record(
        study.claim(
            "6D",
            study.title(variant),
            farther,
            above(farther, 0.5),
            attack=attack,
            threat_model=ThreatModel.TRANSFER,
            shown=f"median {naive.median():.2f} → {augmented.median():.2f}; farther: {farther}",
            comparison=">",
            threshold="0.5",
            checks=study.under(variant, attack).checks,
        )
    )


@pytest.mark.robust(paper="dustbin", claim="6", defense="dustbin", attack=("fgsm", "fgsm_targeted"))
def test_feature_spaces_are_drawn(study: DustbinStudy, figures: Path) -> None:
    """6: Figure 4, penultimate features of clean, FGS and T-FGS images in both networks."""
    settings = study.bench.settings
    # The same images clean and attacked.
    drawn_images = torch.randperm(len(study.attacked), generator=torch.Generator().manual_seed(settings.seed))[:DRAWN]
    clean = study.attacked.subset(drawn_images)
    spaces = {}
    for title, network in (
        ("naive", study.defended("naive").networks["network"]),
        ("augmented", study.defended("augmented").networks["augmented"]),
        ("augmented + interpolated", study.defended("interpolated").networks["augmented"]),
    ):
        images = {"clean": clean.x, **{a: study.adversaries(a).x[drawn_images] for a in ("fgsm", "fgsm_targeted")}}
        spaces[title] = {name: network.features_of(x) for name, x in images.items()}
    drawn = draw_feature_spaces(
        figures / "dustbin-features.png", f"{settings.dataset}, {settings.scale}", spaces, clean.y
    )
    assert drawn.stat().st_size > 0
    assert all(torch.isfinite(f).all() for sets in spaces.values() for f in sets.values())
