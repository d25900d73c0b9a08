"""The claims of the decision-mismatch paper (Monteiro et al.): two networks that disagree give an attack away.

White box for one network of two; the detector and the other network are unknown to the attacker. Detectors are judged
on training images, as in the paper, by folds. D claims are directions and are asserted on every data set; A claims are
the paper's own thresholds, asserted at ``--scale=paper`` on the paper's data sets. Rows of information show what is
left of both detectors once the attacker looks at them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from mismatch_study import ATTACKS, DEGRADATIONS, GRADIENT, PAPER, MismatchStudy, signs

from pytest_robust.bench.bench import Bench
from pytest_robust.claims.claim import Claim, all_of
from pytest_robust.evaluation.mean import Mean
from pytest_robust.evaluation.perturbation_stats import PerturbationStats, paired_size_difference
from pytest_robust.evaluation.rate import Rate
from pytest_robust.evaluation.silhouette import silhouette, silhouette_difference
from pytest_robust.evaluation.verdict import above, at_least
from pytest_robust.reports.embeddings import draw_embeddings
from pytest_robust.reports.heat_maps import draw_heat_maps
from pytest_robust.reports.perturbation_table import perturbation_table
from pytest_robust.threats.defended import ThreatModel

Record = Callable[[Claim], None]

TITLE = "mismatch"
#: What the attacker knows in the paper: one network as it is.
ONE_NETWORK = f"{ThreatModel.GRAY_BOX}, one network"
#: Where DeepFool needs least: the paper's MNIST, not its CIFAR-10.
DEEPFOOL_SMALLEST_ON = "mnist"
#: Both defenses, each test marked with the one it runs.
DETECTORS = [pytest.param(d, marks=pytest.mark.robust(defense=d)) for d in ("mismatch", "feature_squeezing")]
#: Names of Figure 5.
SHORT = ("FGSM", "IGSM", "JSMA", "DeepFool", "blur", "noise", "s&p")


def each(attacks: tuple[str, ...], claim: str) -> list[object]:
    """One parameter for each attack, marked with it."""
    return [pytest.param(a, marks=pytest.mark.robust(paper="mismatch", claim=claim, attack=a)) for a in attacks]


@pytest.fixture(scope="module")
def study(robust_bench: Bench) -> MismatchStudy:
    return MismatchStudy(robust_bench)


@pytest.mark.parametrize("network", ["network_1", "network_2"])
@pytest.mark.robust(paper="mismatch", claim="I", defense="mismatch")
def test_networks_learn(study: MismatchStudy, robust_record: Record, network: str) -> None:
    """I: Table I, test accuracy; two networks that match each other are what the method asks for."""
    test = study.bench.test_split
    accuracy = Rate.of(study.networks[network == "network_2"].predict(test.x) == test.y)
    robust_record(
        study.inform(
            "I",
            f"{TITLE}, {network}",
            accuracy,
            attack="",
            threat_model="",
            paper=[PAPER.figure(study.dataset, "clean", network)],
        )
    )
    assert accuracy.lower > 1 / study.images.num_classes


@pytest.mark.parametrize("detector", DETECTORS)
@pytest.mark.robust(paper="mismatch", claim="I")
def test_clean_images_are_kept(study: MismatchStudy, robust_record: Record, detector: str) -> None:
    """I: what the defenses cost, the share of clean test images that they reject."""
    evaluation = study.bench.evaluate(study.guarded(detector))
    robust_record(
        study.inform(
            "I",
            detector,
            evaluation.rejection,
            attack="",
            threat_model="",
            shown=f"rejects {evaluation.rejection}; right {evaluation.accuracy.value:.3f}",
        )
    )
    assert len(evaluation) == len(study.bench.test_split)


@pytest.mark.parametrize("attack", each(ATTACKS, "II"))
@pytest.mark.robust(defense="mismatch")
def test_attacks_succeed(study: MismatchStudy, robust_record: Record, attack: str) -> None:
    """II: Table II, success rate and mean squared error of the smallest attack that fools network 1."""
    stats = study.perturbations[attack]
    theirs = PAPER.figure(study.dataset, "mse", attack)
    mse = f"{stats.mean('mse').value:.3g}" if stats.n else "–"
    robust_record(
        study.inform(
            "II",
            f"{TITLE}, network_1",
            stats.fooled,
            attack=attack,
            threat_model=ONE_NETWORK,
            shown=f"success {stats.fooled}; MSE of successes {mse}, failures as zero {stats.mse_failures_as_zero:.3g} "
            f"(paper: {theirs:.3g})",
            paper=[PAPER.figure(study.dataset, "success", attack)],
        )
    )
    assert stats.n > 0


@pytest.mark.robust(paper="mismatch", claim="II", defense="mismatch", attack=ATTACKS)
def test_perturbations_are_tabled(study: MismatchStudy, figures: Path) -> None:
    """II: every statistic of the perturbations, as a text file."""
    figures.mkdir(parents=True, exist_ok=True)
    written = figures / "mismatch-perturbations.txt"
    written.write_text(perturbation_table(dict(zip(SHORT, study.perturbations.values(), strict=True))), "utf-8")
    assert "MSE" in written.read_text("utf-8")


@pytest.mark.parametrize("attack", each(ATTACKS, "1D"))
@pytest.mark.robust(defense="mismatch")
def test_detector_beats_saying_the_same(study: MismatchStudy, robust_record: Record, attack: str) -> None:
    """1D: by folds, the detector is right more often than the better of "always clean" and "always attacked"."""
    found = study.under_cross_validation(attack)
    gained = found.over_trivial
    robust_record(
        study.claim(
            "1D",
            TITLE,
            gained,
            above(gained, 0.0),
            attack=attack,
            threat_model=ONE_NETWORK,
            shown=f"accuracy {found.accuracy.value:.3f}, F1 {found.f1.value:.3f}, AUC {found.auc.value:.3f}; "
            f"over the better trivial detector {gained}",
            comparison=">",
            threshold="0",
            paper=[PAPER.figure(study.dataset, "detection", attack, name) for name in ("accuracy", "f1", "auc")],
            checks=study.checks(attack),
        )
    )


@pytest.mark.parametrize("threshold", ["detection"], indirect=True)
@pytest.mark.parametrize("figure", ["accuracy", "f1", "auc"])
@pytest.mark.parametrize("attack", each(ATTACKS, "1A"))
@pytest.mark.robust(defense="mismatch")
def test_detector_is_good(
    study: MismatchStudy, robust_record: Record, attack: str, figure: str, threshold: float
) -> None:
    """1A: accuracy, F1 and AUC by 10 folds are at least 0.90 for every attack."""
    measured = getattr(study.under_cross_validation(attack), figure)
    robust_record(
        study.claim(
            "1A",
            TITLE,
            measured,
            at_least(measured, threshold),
            attack=attack,
            threat_model=ONE_NETWORK,
            shown=f"{figure} {measured}",
            comparison=">=",
            threshold=f"{threshold:g}",
            paper=[PAPER.figure(study.dataset, "detection", attack, figure)],
            checks=study.checks(attack),
        )
    )


@pytest.mark.parametrize("threshold", ["generalisation"], indirect=True)
@pytest.mark.parametrize("attack", each(GRADIENT, "2A"))
@pytest.mark.robust(defense="mismatch")
def test_detector_generalises(study: MismatchStudy, robust_record: Record, attack: str, threshold: float) -> None:
    """2A: trained on one gradient attack it is right on 85 % of every other's images, but for FGSM on JSMA (.78)."""
    others = [b for b in ATTACKS if b != attack and (attack, b) != ("fgsm_smallest", "jsma")]
    accuracies = {b: study.answers[attack, b].accuracy for b in others}
    worst = min(accuracies, key=lambda b: accuracies[b].value)
    theirs = study.papers_generalisation[ATTACKS.index(attack), ATTACKS.index(worst)]
    robust_record(
        study.claim(
            "2A",
            TITLE,
            accuracies[worst],
            all_of(at_least(rate, threshold) for rate in accuracies.values()),
            attack=attack,
            threat_model=ONE_NETWORK,
            shown=f"the lowest is on {worst}: {accuracies[worst]}",
            comparison=">=",
            threshold=f"{threshold:g}",
            paper=[theirs.item()],
            checks=study.checks(attack, *others),
        )
    )


@pytest.mark.robust(paper="mismatch", claim="2D", defense="mismatch", attack=ATTACKS)
def test_gradient_attacks_teach_more(study: MismatchStudy, robust_record: Record) -> None:
    """2D: on attacks it was not trained on, a detector trained on a gradient attack is right more often."""
    gained = study.gradient_over_degradation()
    split = len(GRADIENT)
    ours, theirs = (
        (matrix[:split].nanmean().item(), matrix[split:].nanmean().item())
        for matrix in (study.generalisation, study.papers_generalisation)
    )
    robust_record(
        study.claim(
            "2D",
            TITLE,
            gained,
            above(gained, 0.0),
            attack="all but the one trained on",
            threat_model=ONE_NETWORK,
            shown=f"trained on gradient attacks {ours[0]:.3f}, on degradations {ours[1]:.3f}: {gained}",
            comparison=">",
            threshold="0",
            paper=theirs,
            checks=study.checks(*ATTACKS),
        )
    )


@pytest.mark.robust(paper="mismatch", claim="2D", defense="mismatch", attack=ATTACKS)
def test_generalisation_is_drawn(study: MismatchStudy, figures: Path) -> None:
    """2: Figures 5 and 6, beside the paper's."""
    paper = f"paper ({PAPER.like(study.dataset)})"
    matrices = {study.dataset: study.generalisation, paper: study.papers_generalisation}
    drawn = draw_heat_maps(
        figures / "mismatch-generalisation.png",
        "Accuracy of detectors on attacks that they were not trained on",
        matrices,
        SHORT,
        SHORT,
        row_label="trained on",
        column_label="tested on",
        limits=(0.5, 1.0),
    )
    assert drawn.stat().st_size > 0
    assert bool(torch.isfinite(study.generalisation).sum() == 42)


@pytest.mark.parametrize("attack", each(GRADIENT, "3D"))
@pytest.mark.robust(defense="mismatch")
def test_gradient_attacks_need_less(study: MismatchStudy, robust_record: Record, attack: str) -> None:
    """3D: a gradient attack's MSE is smaller than that of each degradation, on the images that both fool."""
    robust_record(_smaller(study, attack, DEGRADATIONS))


@pytest.mark.robust(paper="mismatch", claim="3D", defense="mismatch", attack="deepfool")
def test_deepfool_needs_least(study: MismatchStudy, robust_record: Record) -> None:
    """3D: DeepFool's MSE is smaller than that of the other gradient attacks (MNIST)."""
    if PAPER.like(study.dataset) != DEEPFOOL_SMALLEST_ON:
        pytest.skip("the paper's CIFAR-10 has IGSM the smallest")
    robust_record(_smaller(study, "deepfool", tuple(a for a in GRADIENT if a != "deepfool")))


@pytest.mark.robust(paper="mismatch", claim="3D", defense="mismatch", attack="jsma")
def test_jsma_with_whole_steps(study: MismatchStudy, robust_record: Record) -> None:
    """Beside 3D: JSMA with Papernot et al.'s own θ = 1, a value from end to end in one step."""
    whole = study.adversaries("jsma", theta=1.0)
    saved = {other: paired_size_difference(study.adversaries(other), whole, "mse") for other in ("jsma", *DEGRADATIONS)}
    nearest = min(DEGRADATIONS, key=lambda other: saved[other].value)
    mse = PerturbationStats.of(whole).mean("mse").value
    robust_record(
        study.inform(
            "3D",
            TITLE,
            saved[nearest],
            attack="jsma(theta=1)",
            threat_model=ONE_NETWORK,
            shown=f"MSE {mse:.3g}; the nearest is {nearest}, by {saved[nearest]}",
            checks=signs("jsma", whole),
        )
    )
    assert saved["jsma"].value < 0, "whole steps need more than tenths of one"


def _smaller(study: MismatchStudy, attack: str, others: tuple[str, ...]) -> Claim:
    mine = study.adversaries(attack)
    saved = {other: paired_size_difference(study.adversaries(other), mine, "mse") for other in others}
    nearest = min(saved, key=lambda other: saved[other].value)
    sizes = {name: study.perturbations[name].mean("mse").value for name in (attack, *others)}
    theirs = {name: PAPER.figure(study.dataset, "mse", name) for name in sizes}
    return study.claim(
        "3D",
        TITLE,
        saved[nearest],
        all_of(above(difference, 0.0) for difference in saved.values()),
        attack=attack,
        threat_model=ONE_NETWORK,
        shown=f"MSE {_listed(sizes)} (paper: {_listed(theirs)}); the nearest is {nearest}, by {saved[nearest]}",
        comparison=">",
        threshold="0",
        checks=study.checks_of_sizes(attack, *others),
    )


def _listed(sizes: dict[str, float]) -> str:
    return ", ".join(f"{name} {size:.3g}" for name, size in sizes.items())


@pytest.mark.robust(paper="mismatch", claim="4", defense="mismatch", attack="deepfool")
def test_feature_space_is_drawn(study: MismatchStudy, figures: Path) -> None:
    """4: Figure 4, t-SNE of raw images and of the detector's features."""
    spaces, attacked = study.embedded()
    points = PAPER.setup(study.dataset, "embedding")["points"]
    seed = study.bench.settings.seed
    chosen = torch.randperm(len(attacked), generator=torch.Generator().manual_seed(seed))[:points]
    drawn = draw_embeddings(
        figures / "mismatch-tsne.png",
        f"Clean images and {PAPER.setup(study.dataset, 'embedding')['attack']}, {study.dataset}",
        {name: rows[chosen] for name, rows in spaces.items()},
        attacked[chosen],
        ("clean", "attacked"),
        seed,
    )
    assert drawn.stat().st_size > 0


@pytest.mark.robust(paper="mismatch", claim="4D", defense="mismatch", attack="deepfool")
def test_features_separate(study: MismatchStudy, robust_record: Record) -> None:
    """4D: mean silhouette of attacked and clean images, in the features minus in raw pixels, paired."""
    (raw, features), attacked = tuple(study.embedded()[0].values()), study.embedded()[1]
    seed = study.bench.settings.seed
    gained: Mean = silhouette_difference(features, raw, attacked, seed)
    before, after = (silhouette(space, attacked, seed).value for space in (raw, features))
    robust_record(
        study.claim(
            "4D",
            TITLE,
            gained,
            above(gained, 0.0),
            attack=PAPER.setup(study.dataset, "embedding")["attack"],
            threat_model=ONE_NETWORK,
            shown=f"raw pixels {before:.3f}, features {after:.3f}: {gained}",
            comparison=">",
            threshold="0",
            checks=study.checks(PAPER.setup(study.dataset, "embedding")["attack"]),
        )
    )


@pytest.mark.parametrize("detector", DETECTORS)
@pytest.mark.parametrize("attack", each(GRADIENT, "5"))
def test_detection_rates(study: MismatchStudy, robust_record: Record, attack: str, detector: str) -> None:
    """5: Table IV, the share of attacked images that is detected, by both defenses, on the same images."""
    detected, alarms = study.detection_rates(attack)[detector]
    theirs = PAPER.data["figures"][PAPER.like(study.dataset)]["rate"][attack].get(detector)
    robust_record(
        study.inform(
            "5",
            detector,
            detected,
            attack=attack,
            threat_model=ONE_NETWORK,
            shown=f"detects {detected}; false alarms {alarms.value:.3f}",
            paper=[] if theirs is None else [theirs],
            checks=study.checks(attack),
        )
    )
    assert detected.n > 0


@pytest.mark.parametrize("threat_model", [ThreatModel.WHITE_BOX, ThreatModel.ADAPTIVE])
@pytest.mark.parametrize("detector", DETECTORS)
@pytest.mark.robust(paper="mismatch", claim="adaptive", attack="pgd")
def test_attacker_looks_at_the_detector(
    study: MismatchStudy, robust_record: Record, detector: str, threat_model: ThreatModel
) -> None:
    """Beside the paper: PGD on test images, blind to the detector (white box) and with it in the loss (adaptive).

    The adaptive row counts an image on which either attack or one of a cascade gets through: who knows the detector can
    also do without.
    """
    evaluation = study.under_pgd(detector, threat_model)
    error, shown, checks = evaluation.error, f"Err {evaluation.error}; ", [*evaluation.checks]
    if threat_model is ThreatModel.ADAPTIVE:
        worst = study.worst_under_pgd(detector)
        blind = study.under_pgd(detector, ThreatModel.WHITE_BOX)
        words = study.in_words(study.guarded(detector), "PGD blind to the detector", restarts=study.restarts)
        error, checks = worst.error, [*checks, *blind.checks, *worst.checks]
        shown = f"Err {error}, {words}; one PGD alone {shown}"
    robust_record(
        study.inform(
            "adaptive",
            detector,
            error,
            attack="pgd",
            threat_model=threat_model,
            shown=f"{shown}rejected {evaluation.rejection.value:.3f}, right {evaluation.accuracy.value:.3f}",
            checks=checks,
        )
    )
    assert len(evaluation) == len(study.bench.test_sample(PAPER.setup(study.dataset, "adaptive")["images"]))
    assert error.value > study.clean_test(detector).error.value, "the attack changed nothing"
