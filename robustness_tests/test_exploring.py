"""The claims of Wang, Kunin & Pyron: dropout ensemble, dropout autoencoder and generative adversarial classifier.

Gray box: adversaries are made on the plain network, for each wrong class of each image it has right. D claims are
directions and are asserted on every data set; A claims are the paper's own thresholds, asserted at ``--scale=paper`` on
the data set that it gives them for, and shown elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from exploring_study import DEFENSES, KINDS, PAPER, ExploringStudy, cited

from pytest_robust.bench.bench import Bench
from pytest_robust.bench.evaluating import checks
from pytest_robust.claims.claim import Claim, all_of
from pytest_robust.evaluation.compare import first_greater, paired_difference
from pytest_robust.evaluation.pairs import pair_means
from pytest_robust.evaluation.perturbation_stats import PerturbationStats, paired_size_difference
from pytest_robust.evaluation.verdict import above, at_least, at_most
from pytest_robust.threats.defended import ThreatModel

Record = Callable[[Claim], None]

GAC = ("gac_mlp", "gac_conv")
GRAY_BOX = ThreatModel.GRAY_BOX


@pytest.fixture(scope="module")
def study(robust_bench: Bench) -> ExploringStudy:
    return ExploringStudy(robust_bench)


@pytest.fixture
def asserted(robust_bench: Bench) -> Callable[[str], float | None]:
    """A threshold of the paper's own by name; None where it is not asserted."""
    settings = robust_bench.settings
    return lambda name: PAPER.threshold(settings.dataset, name) if settings.scale == "paper" else None


@pytest.mark.robust(paper="exploring", claim="1D", defense="dropout_ensemble", attack="ascent")
def test_the_ensemble_thwarts_minimal_adversaries(study: ExploringStudy, robust_record: Record) -> None:
    """1D: it thwarts more minimal than extended adversaries, paired by image and target."""
    more = study.more_thwarted(("dropout_ensemble", "minimal"), ("dropout_ensemble", "extended"))
    minimal, extended = (study.thwarted_share("dropout_ensemble", kind) for kind in KINDS)
    right = " → ".join(f"{study.under('dropout_ensemble', kind).accuracy.value:.1%}" for kind in KINDS)
    robust_record(
        study.claim(
            "1D",
            study.title("dropout_ensemble"),
            more,
            above(more, 0.0),
            attack="ascent",
            threat_model=GRAY_BOX,
            shown=f"thwarted {minimal.value:.1%} (minimal) → {extended.value:.1%} (extended): fell by {more}",
            comparison=">",
            threshold="0",
            checks=[check for kind in KINDS for check in study.under("dropout_ensemble", kind).checks],
            note=f"{study.fooled('minimal')}; answered rightly {right}",
        )
    )


@pytest.mark.robust(paper="exploring", claim="1A", defense="dropout_ensemble", attack="ascent")
def test_some_pairs_are_thwarted_mostly(
    study: ExploringStudy, robust_record: Record, asserted: Callable[[str], float | None]
) -> None:
    """1A: more than 60 % of the minimal adversaries of at least one (original, target) pair are thwarted (CIFAR-10)."""
    greatest = study.thwarted_pairs("dropout_ensemble", "minimal").greatest
    limit = asserted("pair_thwarted")
    robust_record(
        study.absolute(
            "1A",
            "dropout_ensemble",
            greatest,
            None if limit is None else above(greatest, limit),
            kind="minimal",
            comparison=">",
            threshold=f"{limit}",
            figure="> 60 % for several pairs (cifar10)",
        )
    )


@pytest.mark.robust(paper="exploring", claim="1A", defense="dropout_ensemble", attack="ascent")
def test_extended_adversaries_get_through(
    study: ExploringStudy, robust_record: Record, asserted: Callable[[str], float | None]
) -> None:
    """1A: at most 20 % of the extended adversaries are thwarted (CIFAR-10)."""
    share, limit = study.thwarted_share("dropout_ensemble", "extended"), asserted("extended_thwarted")
    robust_record(
        study.absolute(
            "1A",
            "dropout_ensemble",
            share,
            None if limit is None else at_most(share, limit),
            kind="extended",
            comparison="<=",
            threshold=f"{limit}",
            figure="nearly none (cifar10)",
        )
    )


@pytest.mark.robust(paper="exploring", claim="2A", defense="dropout_ensemble")
def test_originals_stay_right(
    study: ExploringStudy, robust_record: Record, asserted: Callable[[str], float | None]
) -> None:
    """2A: at least 99 % of the originals stay right under the dropout ensemble (CIFAR-10)."""
    kept, limit = study.on_originals("dropout_ensemble").accuracy, asserted("originals_kept")
    robust_record(
        study.absolute(
            "2A",
            "dropout_ensemble",
            kept,
            None if limit is None else at_least(kept, limit),
            comparison=">=",
            threshold=f"{limit}",
            figure="100 % (cifar10)",
        )
    )


@pytest.mark.robust(paper="exploring", claim="3D", defense="dropout_ensemble", attack="ascent")
def test_votes_vary_on_minimal_adversaries(study: ExploringStudy, robust_record: Record) -> None:
    """3D: the variance of the votes tells minimal adversaries from originals better than chance."""
    area = study.auroc("variance", "minimal")
    robust_record(
        study.claim(
            "3D",
            study.title("variance"),
            area,
            above(area, 0.5),
            attack="ascent",
            threat_model=GRAY_BOX,
            shown=f"AUROC on minimal {area}",
            comparison=">",
            threshold="0.5",
            checks=study.under("variance", "minimal").checks,
            note=f"of the vote entropy, for labels are names: {study.auroc('dropout_ensemble', 'minimal')}",
        )
    )


@pytest.mark.parametrize("kind", ["extended"])  # named, so that the paper's file can speak of it
@pytest.mark.robust(paper="exploring", claim="3D", defense="dropout_ensemble", attack="ascent")
def test_votes_vary_little_on_extended_adversaries(study: ExploringStudy, robust_record: Record, kind: str) -> None:
    """3D: the variance of the votes hardly tells extended adversaries from originals."""
    area, limit = study.auroc("variance", kind), PAPER.threshold("any", "extended_auroc")
    assert limit is not None
    scores = [(k, study.under("variance", k).decision.score) for k in KINDS]
    means = [float(score.mean()) for score in (study.on_originals("variance").decision.score, *dict(scores).values())]
    claim = study.claim(
        "3D",
        study.title("variance"),
        area,
        at_most(area, limit),
        attack="ascent",
        threat_model=GRAY_BOX,
        shown=f"AUROC on extended {area}",
        comparison="<=",
        threshold=f"{limit:g}",
        checks=study.under("variance", kind).checks,
        note="mean variance {:.3g} (originals), {:.3g} (minimal), {:.3g} (extended), ".format(*means)
        + f"minimal − extended {study.paired(scores)}; of the vote entropy: {study.auroc('dropout_ensemble', kind)}",
    )
    robust_record(cited(claim, "variance essentially identical (cifar10)"))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.robust(paper="exploring", claim="4A", defense="dropout_autoencoder", attack="ascent")
def test_the_autoencoder_thwarts_half(
    study: ExploringStudy, robust_record: Record, asserted: Callable[[str], float | None], kind: str
) -> None:
    """4A: the autoencoder thwarts 40 to 65 % of either kind (CIFAR-10)."""
    share, least, most = (
        study.thwarted_share("dropout_autoencoder", kind),
        asserted("half_least"),
        asserted("half_most"),
    )
    known = least is not None and most is not None
    robust_record(
        study.absolute(
            "4A",
            "dropout_autoencoder",
            share,
            all_of([at_least(share, least), at_most(share, most)]) if known else None,
            kind=kind,
            comparison="within",
            threshold=f"{least}–{most}",
            figure="roughly half (cifar10)",
        )
    )


@pytest.mark.robust(paper="exploring", claim="4D", defense=("dropout_autoencoder", "dropout_ensemble"), attack="ascent")
def test_the_autoencoder_thwarts_extended_adversaries(study: ExploringStudy, robust_record: Record) -> None:
    """4D: it thwarts more extended adversaries than the dropout ensemble does, paired."""
    names = ("dropout_autoencoder", "dropout_ensemble")
    more = study.more_thwarted((names[0], "extended"), (names[1], "extended"))
    autoencoder, ensemble = (study.thwarted_share(name, "extended") for name in names)
    robust_record(
        study.claim(
            "4D",
            study.title("dropout_autoencoder"),
            more,
            above(more, 0.0),
            attack="ascent",
            threat_model=GRAY_BOX,
            shown=f"extended thwarted {ensemble.value:.1%} (ensemble) → {autoencoder.value:.1%}: more by {more}",
            comparison=">",
            threshold="0",
            checks=study.under("dropout_autoencoder", "extended").checks,
            note=f"answered rightly: {study.under('dropout_autoencoder', 'extended').accuracy}",
        )
    )


@pytest.mark.robust(paper="exploring", claim="4D", defense=("dropout_autoencoder", "dropout_ensemble"))
def test_the_autoencoder_costs_accuracy(study: ExploringStudy, robust_record: Record) -> None:
    """4D: it has fewer of the originals right than the dropout ensemble, paired."""
    ensemble, autoencoder = (study.on_originals(name) for name in ("dropout_ensemble", "dropout_autoencoder"))
    lost = ensemble.accuracy_minus(autoencoder)
    claim = study.claim(
        "4D",
        study.title("dropout_autoencoder"),
        lost,
        first_greater(lost),
        shown=f"originals right {ensemble.accuracy.value:.1%} → {autoencoder.accuracy.value:.1%}: lost {lost}",
        comparison=">",
        threshold="0",
    )
    robust_record(cited(claim, "100 % → 60–70 % (cifar10)"))


@pytest.mark.parametrize("name", GAC)
@pytest.mark.robust(paper="exploring", claim="5D", defense="gac")
def test_gac_keeps_clean_accuracy(study: ExploringStudy, robust_record: Record, name: str) -> None:
    """5D: it loses at most 2 points on clean test images to the plain classifier trained in step with it."""
    limit, split = PAPER.threshold("any", "accuracy_lost"), study.bench.test_split
    assert limit is not None
    plain = study.plain_beside(name).predict(split.x) == split.y
    gac = study.bench.evaluate(study.defended(name), split)
    lost = paired_difference(plain, gac.correct)
    robust_record(
        study.claim(
            "5D",
            study.title(name),
            lost,
            at_most(lost, limit),
            shown=f"Acc {float(plain.double().mean()):.2%} → {gac.accuracy.value:.2%}: lost {lost}",
            comparison="<=",
            threshold=f"{limit:g}",
        )
    )


@pytest.mark.parametrize("name", GAC)
@pytest.mark.robust(paper="exploring", claim="5D", defense="gac", attack="ascent")
def test_gac_gains_on_adversaries(study: ExploringStudy, robust_record: Record, name: str) -> None:
    """5D: it has more of the recorded minimal adversaries right than the plain classifier trained in step with it."""
    gained, extended = (study.gained(name, kind) for kind in KINDS)
    claim = study.claim(
        "5D",
        study.title(name),
        gained,
        above(gained, 0.0),
        attack="ascent",
        threat_model=GRAY_BOX,
        shown=f"minimal: Acc {study.under(name, 'minimal').accuracy.value:.1%}, gained {gained}",
        comparison=">",
        threshold="0",
        checks=study.under(name, "minimal").checks,
        note=f"extended: Acc {study.under(name, 'extended').accuracy.value:.1%}, gained {extended}",
    )
    robust_record(cited(claim, "1–3 points"))


@pytest.mark.parametrize("name", GAC)
@pytest.mark.robust(paper="exploring", claim="5A", defense="gac", attack="ascent")
def test_gac_gains_points(
    study: ExploringStudy, robust_record: Record, asserted: Callable[[str], float | None], name: str
) -> None:
    """5A: the gain on the recorded minimal adversaries is at least a point (MNIST, CIFAR-10)."""
    gained, limit = study.gained(name, "minimal"), asserted("gained")
    robust_record(
        study.absolute(
            "5A",
            name,
            gained,
            None if limit is None else at_least(gained, limit),
            kind="minimal",
            comparison=">=",
            threshold=f"{limit}",
            figure="1–3 points",
        )
    )


@pytest.mark.parametrize("norm", ["l1", "l2"])
@pytest.mark.robust(paper="exploring", claim="6D", defense="dropout_ensemble", attack="ascent")
def test_extended_perturbations_are_larger(study: ExploringStudy, robust_record: Record, norm: str) -> None:
    """6D: extended perturbations are larger than minimal ones, paired by image and target."""
    sets = {kind: study.attempted(kind) for kind in KINDS}
    larger = paired_size_difference(sets["extended"], sets["minimal"], norm)
    means = {kind: PerturbationStats.of(s).mean(norm).value for kind, s in sets.items()}
    claim = study.claim(
        "6D",
        "none",
        larger,
        above(larger, 0.0),
        attack="ascent",
        threat_model=GRAY_BOX,
        shown=f"mean {norm.upper()} {means['minimal']:.3g} → {means['extended']:.3g}: larger by {larger}",
        comparison=">",
        threshold="0",
        checks=[sign for made in sets.values() for sign in checks(made)],
        note=study.fooled("extended"),
    )
    paper = [PAPER.figure("cifar10", kind, norm) for kind in KINDS]
    minimal = PAPER.figure("mnist", "minimal", norm)
    robust_record(cited(claim, f"{paper[0]:g} → {paper[1]:g} (cifar10); minimal {minimal:g} (mnist)"))


@pytest.mark.parametrize("name", [name for name in DEFENSES if name != "variance"])
@pytest.mark.robust(
    paper="exploring", claim="1D", defense=("dropout_ensemble", "dropout_autoencoder", "gac"), attack="pgd"
)
def test_accuracy_under_an_adaptive_attack(study: ExploringStudy, robust_record: Record, name: str) -> None:
    """Beside the claims: accuracy when the attacker differentiates the defense itself, over masks of his own.

    An original counts as right where every attack of a cascade fails on it, and the plain network's adversaries within
    the same budget.
    """
    number = {"dropout_ensemble": "1D", "dropout_autoencoder": "4D"}.get(name, "5D")
    under, worst = study.under_adaptive(name), study.worst_adaptive(name)
    robust_record(
        study.inform(
            number,
            study.title(name),
            worst.accuracy,
            attack="pgd",
            threat_model=ThreatModel.ADAPTIVE,
            shown=f"Acc {worst.accuracy}, {study.in_words(study.defended(name), 'ascent', restarts=study.restarts)}; "
            f"one PGD alone Acc {under.accuracy}; "
            f"originals, unattacked: {study.on_originals(name).accuracy.value:.1%}",
            checks=[*under.checks, *worst.checks],
        )
    )
    assert worst.accuracy.value < study.on_originals(name).accuracy.value, "the attack changed nothing"


@pytest.mark.robust(paper="exploring", claim="7", defense="none", attack="ascent")
def test_perturbations_are_tabled(study: ExploringStudy, figures: Path) -> None:
    """7: Table 1, statistics of both kinds of perturbations, and their histograms."""
    from pytest_robust.reports.histograms import draw_perturbation_histograms
    from pytest_robust.reports.perturbation_table import perturbation_table

    table = perturbation_table({kind: PerturbationStats.of(study.attempted(kind)) for kind in KINDS})
    figures.mkdir(parents=True, exist_ok=True)
    (figures / "exploring-perturbations.txt").write_text(table + "\n", encoding="utf-8")
    sets = {kind: study.adversaries(kind) for kind in KINDS}
    drawn = draw_perturbation_histograms(
        figures / "exploring-histograms.png",
        "Perturbations of adversarial images (paper: section 2.3)",
        {kind: s.x - s.clean.x for kind, s in sets.items()},
    )
    assert "L2 norm" in table
    assert drawn.stat().st_size > 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.robust(paper="exploring", claim="7", defense="none", attack="ascent")
def test_mean_images_are_drawn(study: ExploringStudy, figures: Path, kind: str) -> None:
    """7: Figures 1 and 4, mean adversarial images (on the diagonal the originals) and mean perturbations."""
    from pytest_robust.reports.image_grids import draw_mean_images, draw_mean_perturbations

    s, originals, names = study.adversaries(kind), study.originals, study.bench.dataset.class_names
    assert s.targets is not None
    means = pair_means(s.x, s.y, s.targets, len(names))
    diagonal = pair_means(originals.x, originals.y, originals.y, len(names))
    images = torch.where(means.isnan(), diagonal, means)
    path = figures / f"exploring-{kind}-images.png"
    drawn = draw_mean_images(path, f"Mean {kind} adversarial images (paper: Figure 1)", images, names)
    perturbations = pair_means(s.x - s.clean.x, s.y, s.targets, len(names))
    path = figures / f"exploring-{kind}-perturbations.png"
    added = draw_mean_perturbations(path, f"Mean {kind} perturbations (paper: Figure 4)", perturbations, names)
    assert min(drawn.stat().st_size, added.stat().st_size) > 0


@pytest.mark.parametrize("name", ["dropout_ensemble", "dropout_autoencoder"])
@pytest.mark.robust(paper="exploring", claim="7", defense=("dropout_ensemble", "dropout_autoencoder"), attack="ascent")
def test_thwarted_shares_are_drawn(study: ExploringStudy, figures: Path, name: str) -> None:
    """7: Figures 6 and 8, the share of thwarted adversaries by (original, target) class."""
    from pytest_robust.reports.heat_maps import draw_heat_maps

    names = study.bench.dataset.class_names
    drawn = draw_heat_maps(
        figures / f"exploring-{name}-thwarted.png",
        f"Share of adversaries that {study.title(name)} thwarts (paper: Figures 6 and 8)",
        {kind: study.thwarted_pairs(name, kind).share for kind in KINDS},
        names,
        names,
        row_label="original class",
        column_label="target class",
    )
    assert drawn.stat().st_size > 0


@pytest.mark.robust(paper="exploring", claim="7", defense="dropout_ensemble", attack="ascent")
def test_votes_on_one_image_are_drawn(study: ExploringStudy, figures: Path) -> None:
    """7: Figure 5, the passes' answers for the first original that has an adversary, and for that adversary."""
    from pytest_robust.reports.vote_bars import draw_votes

    first = study.adversaries("minimal").subset(torch.tensor([0]))
    assert first.targets is not None
    counts = study.votes(torch.cat([first.clean.x, first.x]))
    drawn = draw_votes(
        figures / "exploring-votes.png",
        f"Answers of {int(counts[0].sum())} passes with dropout (paper: Figure 5)",
        {"original": counts[0], "minimal adversary": counts[1]},
        study.bench.dataset.class_names,
        int(first.y),
        int(first.targets),
    )
    assert drawn.stat().st_size > 0


@pytest.mark.parametrize("name", ["gac_mlp", "gac_conv"])
@pytest.mark.robust(paper="exploring", claim="7", defense="gac")
def test_generated_images_are_drawn(study: ExploringStudy, figures: Path, name: str) -> None:
    """7: Figures 10 and 13, what the generator makes of the first ten originals, and how the classifier answers."""
    from pytest_robust.reports.image_pairs import draw_image_pairs

    originals = study.originals.subset(list(range(min(10, len(study.originals)))))
    generated, names = study.generated(name, originals.x), study.bench.dataset.class_names
    answers = study.defended(name).decide(generated.clamp(0, 1)).label
    drawn = draw_image_pairs(
        figures / f"exploring-{name}-generated.png",
        f"Originals and what the generator of {study.title(name)} makes of them (paper: Figures 10 and 13)",
        originals.x,
        generated,
        [f"is {names[y]},\nanswered {names[a]}" for y, a in zip(originals.y.tolist(), answers.tolist(), strict=True)],
        ("original", "generated"),
    )
    assert drawn.stat().st_size > 0


@pytest.mark.robust(paper="exploring", claim="7", defense="dropout_ensemble", attack="ascent")
def test_vote_variances_are_drawn(study: ExploringStudy, figures: Path) -> None:
    """7: Figure 7, the mean variance of the votes by (original, target) class; on the diagonal the originals."""
    from pytest_robust.reports.heat_maps import draw_heat_maps

    names, originals = study.bench.dataset.class_names, study.originals
    clean = study.on_originals("variance").decision.score
    matrices = {}
    for kind in KINDS:
        s, score = study.adversaries(kind), study.under("variance", kind).decision.score
        assert s.targets is not None
        values = torch.cat([score, clean])[:, None, None, None]
        rows, columns = torch.cat([s.y, originals.y]), torch.cat([s.targets, originals.y])
        matrices[kind] = pair_means(values, rows, columns, len(names)).flatten(2)[..., 0]
    highest = max(float(matrix.nan_to_num().max()) for matrix in matrices.values())
    drawn = draw_heat_maps(
        figures / "exploring-vote-variance.png",
        "Mean variance of the dropout ensemble's votes; diagonal: originals (paper: Figure 7)",
        matrices,
        names,
        names,
        row_label="original class",
        column_label="target class",
        limits=(0.0, highest or 1.0),
        figure_format=".1f",
    )
    assert drawn.stat().st_size > 0
    assert highest > 0, "no vote differs"
