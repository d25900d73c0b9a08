"""The claims of the ensembles paper (Strauss et al.): several networks, averaged, as a defense.

White box: Grad. 1 is the gradient of one member, Grad. 2 the mean gradient of all. Accuracies are on all test images,
compared pairwise. D claims are directions and are asserted on every data set; A claims are the paper's own thresholds,
asserted at ``--scale=paper`` on MNIST.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from statistics import mean

import pytest
from ensembles_study import ATTACKS, COMPARED, GRADIENTS, METHODS, PAPER, EnsemblesStudy
from ensembles_tables import write_table_2, write_table_4

from pytest_robust.bench.bench import Bench
from pytest_robust.claims.claim import Claim, all_of
from pytest_robust.evaluation.compare import first_greater
from pytest_robust.evaluation.verdict import Judgement, at_least
from pytest_robust.threats.defended import ThreatModel

Record = Callable[[Claim], None]

RIVALS = ("ensemble", "adversarial_training", "distillation")
STEPS = {
    "combined > bagging": ("bagging_adversarial_training", "bagging"),
    "bagging > adversarial training": ("bagging", "adversarial_training"),
    "adversarial training > distillation": ("adversarial_training", "distillation"),
}


def about(claim: str, attack: str) -> pytest.MarkDecorator:
    """The marker of a test whose attack is a parameter."""
    return pytest.mark.robust(paper="ensembles", claim=claim, attack=attack)


@pytest.fixture(scope="module")
def study(robust_bench: Bench) -> EnsemblesStudy:
    return EnsemblesStudy(robust_bench)


@pytest.fixture
def thresholds(robust_bench: Bench) -> dict[str, float]:
    """The paper's thresholds by attack, at `paper` scale on the paper's own data set only."""
    settings = robust_bench.settings
    found = {attack: PAPER.threshold(settings.dataset, f"gain_{attack}") for attack in ATTACKS}
    given = {attack: figure for attack, figure in found.items() if figure is not None}
    if settings.scale != "paper" or not given:
        pytest.skip("asserted at --scale=paper on the paper's own data set, mnist")
    return given


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.robust(paper="ensembles", claim="1D", defense="ensemble")
def test_clean_accuracy(study: EnsemblesStudy, robust_record: Record, method: str) -> None:
    """1D: on clean images the ensemble is at least as accurate as a single network, its first member."""
    single, ensemble = study.clean_single(method), study.clean(method)
    gain = ensemble.accuracy_minus(single)
    dataset = study.bench.settings.dataset
    robust_record(
        study.claim(
            "1D",
            study.title(method),
            gain,
            at_least(gain, 0.0),
            shown=f"Acc {single.accuracy.value:.2%} → {ensemble.accuracy.value:.2%}: gained {gain}",
            comparison=">=",
            threshold="0",
            paper=[PAPER.figure(dataset, "fgsm", method, cell) for cell in ("clean_single", "clean_ensemble")],
            note=f"mean over members {mean(study.member_accuracies(method)):.2%}",
        )
    )


def gain_under(
    study: EnsemblesStudy,
    number: str,
    method: str,
    attack: str,
    gradient: str,
    threshold: float,
    judged: Callable[..., Judgement],
) -> Claim:
    """Accuracy of the ensemble under an attack, minus that of its first member under its own gradient."""
    single, ensemble = study.under_single(method, attack), study.under(method, attack, gradient)
    gain = ensemble.accuracy_minus(single)
    cells = ("grad_1_single", f"{gradient}_ensemble")
    return study.claim(
        number,
        study.title(method),
        gain,
        judged(gain),
        attack=attack,
        threat_model=gradient,
        shown=f"Acc {single.accuracy.value:.1%} → {ensemble.accuracy.value:.1%}: gained {gain}",
        comparison=">=" if threshold else ">",
        threshold=f"{threshold:g}",
        paper=[PAPER.figure(study.bench.settings.dataset, attack, method, cell) for cell in cells],
        checks=[*single.checks, *ensemble.checks],
        note=f"mean over members, own gradients: {mean(study.member_accuracies(method, attack)):.1%}",
    )


@pytest.mark.parametrize("gradient", GRADIENTS)
@pytest.mark.parametrize("attack", [pytest.param(a, marks=about("2D", a)) for a in ATTACKS])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.robust(defense="ensemble")
def test_accuracy_under_attack(
    study: EnsemblesStudy, robust_record: Record, method: str, attack: str, gradient: str
) -> None:
    """2D: under attack the ensemble is more accurate than a single network under its own gradient."""
    robust_record(gain_under(study, "2D", method, attack, gradient, 0.0, first_greater))


@pytest.mark.parametrize("gradient", GRADIENTS)
@pytest.mark.parametrize("attack", [pytest.param(a, marks=about("2A", a)) for a in ATTACKS])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.robust(defense="ensemble")
def test_gain_under_attack(
    study: EnsemblesStudy, robust_record: Record, method: str, attack: str, gradient: str, thresholds: dict[str, float]
) -> None:
    """2A: by at least 7 points under FGSM and 37 points under BIM."""
    least = thresholds[attack]
    robust_record(gain_under(study, "2A", method, attack, gradient, least, lambda gain: at_least(gain, least)))


def gradients_compared(study: EnsemblesStudy, number: str, method: str, attack: str, weaker: str, hurts: str) -> Claim:
    """Accuracy of an ensemble under the gradient said to be weaker, minus that under the one said to hurt more."""
    first, second = study.under(method, attack, weaker), study.under(method, attack, hurts)
    difference = first.accuracy_minus(second)
    cells = (f"{weaker}_ensemble", f"{hurts}_ensemble")
    return study.claim(
        number,
        study.title(method),
        difference,
        first_greater(difference),
        attack=attack,
        threat_model=f"{weaker}, {hurts}",
        shown=f"Acc {first.accuracy.value:.1%} against {second.accuracy.value:.1%}: difference {difference}",
        comparison=">",
        threshold="0",
        paper=[PAPER.figure(study.bench.settings.dataset, attack, method, cell) for cell in cells],
        checks=[*first.checks, *second.checks],
    )


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.robust(paper="ensembles", claim="3D", defense="ensemble", attack="fgsm")
def test_mean_gradient_hurts_more_in_one_step(study: EnsemblesStudy, robust_record: Record, method: str) -> None:
    """3D: with FGSM, Grad. 2 hurts the ensemble more than Grad. 1."""
    robust_record(gradients_compared(study, "3D", method, "fgsm", "grad_1", "grad_2"))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.robust(paper="ensembles", claim="4D", defense="ensemble", attack="bim")
def test_one_members_gradient_hurts_more_in_many(study: EnsemblesStudy, robust_record: Record, method: str) -> None:
    """4D: with BIM, Grad. 1 hurts the ensemble more than Grad. 2; the paper calls it surprising."""
    robust_record(gradients_compared(study, "4D", method, "bim", "grad_2", "grad_1"))


@pytest.mark.parametrize("gradient", GRADIENTS)
@pytest.mark.parametrize("attack", [pytest.param(a, marks=about("5D", a)) for a in ATTACKS])
@pytest.mark.robust(defense="ensemble")
def test_noise_is_the_most_robust(study: EnsemblesStudy, robust_record: Record, attack: str, gradient: str) -> None:
    """5D: the ensemble trained with Gaussian noise is more accurate under attack than each other one."""
    noise = study.under("noise", attack, gradient)
    others = {method: study.under(method, attack, gradient) for method in METHODS if method != "noise"}
    best = max(others, key=lambda method: others[method].accuracy.value)
    gain = noise.accuracy_minus(others[best])
    dataset, cell = study.bench.settings.dataset, f"{gradient}_ensemble"
    paper = {method: PAPER.figure(dataset, attack, method, cell) for method in METHODS}
    robust_record(
        study.claim(
            "5D",
            study.title("noise"),
            gain,
            all_of(first_greater(noise.accuracy_minus(other)) for other in others.values()),
            attack=attack,
            threat_model=gradient,
            shown=f"Acc {others[best].accuracy.value:.1%} ({best}) → {noise.accuracy.value:.1%}: gained {gain}",
            comparison=">",
            threshold="0",
            paper=[max(figure for method, figure in paper.items() if method != "noise"), paper["noise"]],
            checks=[check for evaluation in (noise, *others.values()) for check in evaluation.checks],
        )
    )


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.robust(paper="ensembles", claim="6D", defense=RIVALS, attack="fgsm")
def test_order_of_defenses(study: EnsemblesStudy, robust_record: Record, step: str) -> None:
    """6D: under FGSM, bagging + adversarial training > bagging > adversarial training > distillation."""
    better, worse = STEPS[step]
    first, second = study.under(better, "fgsm"), study.under(worse, "fgsm")
    difference = first.accuracy_minus(second)
    dataset = study.bench.settings.dataset
    robust_record(
        study.claim(
            "6D",
            study.title(better),
            difference,
            first_greater(difference),
            attack="fgsm",
            threat_model=f"{ThreatModel.WHITE_BOX}, grad_2",
            shown=f"Acc {second.accuracy.value:.1%} ({worse}) → {first.accuracy.value:.1%}: gained {difference}",
            comparison=">",
            threshold="0",
            paper=[PAPER.figure(dataset, "table_4", name, "fgsm") for name in (worse, better)],
            checks=[*first.checks, *second.checks],
        )
    )


@pytest.mark.parametrize("cell", ["clean", "bim"])
@pytest.mark.parametrize("name", COMPARED)
@pytest.mark.robust(paper="ensembles", claim="6D", defense=RIVALS)
def test_other_columns_of_table_4(study: EnsemblesStudy, robust_record: Record, name: str, cell: str) -> None:
    """Beside 6D: accuracy on clean images and under BIM."""
    evaluation = study.clean(name) if cell == "clean" else study.under(name, "bim")
    single = name in ("adversarial_training", "distillation")
    accuracy = evaluation.accuracy
    robust_record(
        study.inform(
            "6D",
            study.title(name),
            accuracy,
            attack="" if cell == "clean" else "bim",
            threat_model="" if cell == "clean" else (ThreatModel.WHITE_BOX if single else "grad_2"),
            shown=f"Acc {accuracy}",
            paper=[PAPER.figure(study.bench.settings.dataset, "table_4", name, cell)],
            checks=evaluation.checks,
        )
    )


@pytest.mark.parametrize("name", [*METHODS, *(name for name in COMPARED if name not in METHODS)])
@pytest.mark.robust(paper="ensembles", claim="2D", defense=RIVALS, attack="pgd")
def test_accuracy_under_an_adaptive_attack(study: EnsemblesStudy, robust_record: Record, name: str) -> None:
    """Beside 2D: accuracy when the attacker climbs the loss of the whole, at BIM's budget with five times its steps.

    An image counts as right where every attack of a cascade fails on it, and BIM by one member's gradient and by all
    members'.
    """
    evaluation, worst = study.under_adaptive(name), study.worst_adaptive(name)
    robust_record(
        study.inform(
            "2D",
            study.title(name),
            worst.accuracy,
            attack="pgd",
            threat_model=ThreatModel.ADAPTIVE,
            shown=f"Acc {worst.accuracy}, {study.in_words(study.defended(name), 'BIM')}; "
            f"one PGD alone Acc {evaluation.accuracy}",
            checks=[*evaluation.checks, *worst.checks],
        )
    )
    assert worst.accuracy.value < study.clean(name).accuracy.value, "the attack changed nothing"


@pytest.mark.parametrize("attack", [pytest.param(a, marks=about("2D", a)) for a in ATTACKS])
@pytest.mark.robust(defense="ensemble")
def test_table_2_is_written(study: EnsemblesStudy, figures: Path, attack: str) -> None:
    """Table 2 and Figure 2: every cell beside the paper's, and as bars."""
    page, picture = write_table_2(study, figures, attack)
    text = page.read_text(encoding="utf-8")
    assert f"{study.under('noise', attack, 'grad_2').accuracy.value:.4f}" in text
    assert f"({PAPER.figure(study.bench.settings.dataset, attack, 'noise', 'grad_2_ensemble'):.4f})" in text
    assert picture.stat().st_size > 0


@pytest.mark.robust(paper="ensembles", claim="6D", defense=RIVALS, attack=ATTACKS)
def test_table_4_is_written(study: EnsemblesStudy, figures: Path) -> None:
    """Table 4: every cell beside the paper's, and as bars."""
    page, picture = write_table_4(study, figures)
    text = page.read_text(encoding="utf-8")
    assert f"{study.under('bagging_distillation', 'bim').accuracy.value:.4f}" in text
    assert picture.stat().st_size > 0
