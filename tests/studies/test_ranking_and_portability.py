"""The two studies from made-up numbers that can be worked out by hand, their tables, pictures and JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from pytest_robust.bench.bench import Bench
from pytest_robust.data.split import Split
from pytest_robust.errors import SettingsError
from pytest_robust.evaluation.rate import Rate
from pytest_robust.evaluation.verdict import Verdict, above
from pytest_robust.models.family import Family
from pytest_robust.reports.study_figures import draw_portability, draw_ranking
from pytest_robust.studies.contrasts import across_groups, elsewhere, mean_portability, more_portable, within_groups
from pytest_robust.studies.crossed import Crafted, Crossed, cross
from pytest_robust.studies.paired import larger_on
from pytest_robust.studies.portability import PortabilityMatrix
from pytest_robust.studies.ranking import RobustnessRanking

N, IMAGES = 40, 50
NAMES = ("weak", "fair", "good")


def made(row: int, size: float, success: Tensor, fooled: float) -> Crafted:
    """Perturbations of about `size`, and the share of them that fools each other network."""
    l2 = size + torch.linspace(-0.5, 0.5, N).double()
    fools = (torch.arange(N)[:, None] >= (1 - fooled) * N).repeat(1, 3)
    fools[:, row] = True
    fools &= success[:, None]
    score = torch.where(success, 1 - size / 100, math.nan).double()
    unstable = torch.zeros(N, dtype=torch.bool)
    return Crafted(success, unstable, 0.0, l2, l2 / 4, score, success, (~success).long(), fools, False)


@pytest.fixture
def crossed() -> Crossed:
    """Networks of 60, 80 and 100 % accuracy, with which perturbations grow; one image withstands `fgs` on one."""
    correct = torch.stack([torch.arange(IMAGES) % 5 < 3 + column for column in range(3)], 1)
    always, once = torch.ones(N, dtype=torch.bool), torch.arange(N) > 0
    crafted = {
        "fgs": {n: made(i, 4.0 * (i + 1), once if i == 2 else always, 0.5) for i, n in enumerate(NAMES)},
        "hot_cold": {n: made(i, 8.0 * (i + 1), always, 0.1) for i, n in enumerate(NAMES)},
    }
    groups = {"weak": None, "fair": "deep", "good": "deep"}
    return Crossed("toys", "made up", NAMES, groups, ("fgs", "hot_cold"), correct, torch.arange(N), 64, crafted, 0)


def first_images(crossed: Crossed, n: int) -> Crossed:
    """The same study, had it attacked so many images only."""
    crafted = {
        attack: {
            name: replace(one, **{k: v[:n] for k, v in vars(one).items() if isinstance(v, Tensor)})
            for name, one in by_network.items()
        }
        for attack, by_network in crossed.crafted.items()
    }
    return replace(crossed, attacked=crossed.attacked[:n], crafted=crafted)


def test_figures_are_what_they_say(crossed: Crossed) -> None:
    ranking = RobustnessRanking.from_crossed(crossed)
    assert [ranking.accuracy[n].value for n in ranking.networks] == [0.6, 0.8, 1.0]
    entry = ranking.entry("fgs", "good")
    assert (entry.figures["success"].value, entry.figures["success"].n) == (39 / 40, 40)
    assert {cause: n for cause, n in entry.failures.items() if n} == {"zero direction": 1}
    assert entry.figures["l2"].n == 39
    assert entry.figures["rms"].value == pytest.approx(entry.figures["l2"].value / 8)
    assert entry.figures["l2"].lower < entry.figures["l2"].value < entry.figures["l2"].upper
    assert ranking.entry("fgs", "weak").figures["floor"].value == pytest.approx(0.5)


def test_order_of_accuracy_and_size_is_found(crossed: Crossed) -> None:
    ranking = RobustnessRanking.from_crossed(crossed)
    rho = ranking.correlations["fgs"]["l2"]
    assert (rho.value, rho.networks, rho.n) == (1.0, 3, N - 1)  # one image withstands
    assert rho.p_greater == pytest.approx(1 / 6)
    assert above(rho, 0.0).verdict is Verdict.HOLDS
    assert ranking.correlations["fgs"]["pass_score"].value == -1.0
    assert math.isnan(ranking.correlations["hot_cold"]["success"].value)  # the same for all
    assert ranking.common["fgs"]["l2"].value == 1.0


def test_a_correlation_counts_the_images_behind_it(crossed: Crossed) -> None:
    """Each network withstands three images, and no two of them the same ones."""
    withstood = {n: torch.arange(N) // 3 == i for i, n in enumerate(NAMES)}
    crafted = {"fgs": {n: replace(one, success=~withstood[n]) for n, one in crossed.crafted["hot_cold"].items()}}
    ranking = RobustnessRanking.from_crossed(replace(crossed, attacks=("fgs",), crafted=crafted))
    assert ranking.correlations["fgs"]["l2"].n == N - 3
    assert ranking.common["fgs"]["l2"].n == N - 9
    assert ranking.correlations["fgs"]["success"].n == N


def test_medians_are_correlated_as_the_table_has_them(crossed: Crossed) -> None:
    """Half of the images are far from the other half, so that two middle values have nothing in common."""
    half, crafted = torch.arange(N) < N // 2, {}
    for i, name in enumerate(NAMES):
        sizes = torch.where(half, 5.0 - 2 * i, 10.0 + 3 * i).double()
        crafted[name] = replace(crossed.crafted["hot_cold"][name], l2=sizes)
    ranking = RobustnessRanking.from_crossed(replace(crossed, attacks=("fgs",), crafted={"fgs": crafted}))
    medians = [ranking.entry("fgs", name).figures["l2_median"].value for name in ranking.networks]
    assert medians == sorted(medians)
    assert ranking.correlations["fgs"]["l2_median"].value == 1.0


def test_networks_of_one_accuracy_leave_the_order_open(crossed: Crossed) -> None:
    """Where images cannot tell who is more accurate, they cannot tell whether robustness goes with it."""
    coins = torch.rand(IMAGES, 3, generator=torch.Generator().manual_seed(2)) < 0.7
    alike = Crossed(**{**vars(crossed), "correct": coins})
    rho = RobustnessRanking.from_crossed(alike).correlations["fgs"]["l2"]
    assert rho.upper - rho.lower >= 1.0


def test_a_network_that_nothing_fooled_makes_no_claim_hold(crossed: Crossed) -> None:
    never = made(0, 4.0, torch.zeros(N, dtype=torch.bool), 0.0)
    crafted = {**crossed.crafted, "fgs": {**crossed.crafted["fgs"], "weak": never}}
    broken = Crossed(**{**vars(crossed), "crafted": crafted})
    ranking, matrix = RobustnessRanking.from_crossed(broken), PortabilityMatrix.from_crossed(broken)
    assert above(ranking.correlations["fgs"]["l2"], 0.0).verdict is Verdict.INCONCLUSIVE
    assert ranking.checks["fgs"][0].startswith("weak: the attack has no budget")
    assert matrix.share("fgs")[0].isnan().all()
    cells = elsewhere(broken)
    more = more_portable(broken, ("fgs", cells), ("hot_cold", cells))
    assert above(more, 0.0).verdict is Verdict.INCONCLUSIVE
    assert "–" in matrix.table()
    json.dumps(ranking.as_dict(), allow_nan=False)


def test_cells_count_what_fools_both(crossed: Crossed) -> None:
    matrix = PortabilityMatrix.from_crossed(crossed)
    assert matrix.rate("fgs", "weak", "good").value == 0.5
    assert (matrix.rate("fgs", "good", "weak").k, matrix.rate("fgs", "good", "weak").n) == (20, 39)
    for attack in matrix.attacks:
        assert matrix.share(attack).diagonal().tolist() == [1.0] * 3


def test_contrasts_are_differences_of_mean_cells(crossed: Crossed) -> None:
    assert within_groups(crossed) == [(1, 2), (2, 1)]
    assert len(elsewhere(crossed)) == len(within_groups(crossed)) + len(across_groups(crossed)) == 6
    cells = elsewhere(crossed)
    mean = mean_portability(crossed, "fgs", cells)
    by_hand = sum(float(PortabilityMatrix.from_crossed(crossed).share("fgs")[cell]) for cell in cells) / 6
    assert mean.value == pytest.approx(by_hand)
    more = more_portable(crossed, ("fgs", cells), ("hot_cold", cells))
    assert more.value == pytest.approx(by_hand - 0.1)
    assert more.lower > 0.2
    same = more_portable(crossed, ("fgs", cells), ("fgs", cells))
    never = Rate(0, 39).upper  # on one network 39 images succeeded, and not one of them told the two apart
    assert (same.lower, same.value, same.upper) == (pytest.approx(-never), 0.0, pytest.approx(never))
    with pytest.raises(SettingsError, match="no cell"):
        mean_portability(crossed, "fgs", [])


@pytest.mark.parametrize("images", [1, 5])
def test_a_handful_of_images_decides_nothing(crossed: Crossed, images: int) -> None:
    """Every one of them ports by one attack and not by the other, and perturbations grow with accuracy."""
    few = first_images(crossed, images)
    all_of_them = torch.ones(images, 3, dtype=torch.bool)
    itself = {name: all_of_them & (torch.arange(3) == i) for i, name in enumerate(NAMES)}
    both = few.crafted["hot_cold"]
    crafted = {
        "fgs": {name: replace(both[name], fools=all_of_them) for name in NAMES},
        "hot_cold": {name: replace(both[name], fools=itself[name]) for name in NAMES},
    }
    few, cells = replace(few, crafted=crafted), elsewhere(crossed)
    more = more_portable(few, ("fgs", cells), ("hot_cold", cells))
    assert (more.value, more.lower, more.upper) == (1.0, -1.0, 1.0)
    rho = RobustnessRanking.from_crossed(few).correlations["hot_cold"]["l2"]
    assert (rho.lower, rho.upper) == (-1.0, 1.0)


def test_what_no_image_showed_is_not_ruled_out(crossed: Crossed) -> None:
    """Of 40 images none ports: up to 9 % of all may; and an order that all of them share has an interval too."""
    crafted = {
        "hot_cold": {n: made(i, 8.0 * (i + 1), torch.ones(N, dtype=torch.bool), 0.0) for i, n in enumerate(NAMES)}
    }
    alone = replace(crossed, attacks=("hot_cold",), crafted=crafted)
    mean = mean_portability(alone, "hot_cold", elsewhere(alone))
    assert (mean.value, mean.lower, mean.upper) == (0.0, 0.0, pytest.approx(Rate(0, N).upper))


def test_a_network_that_guesses_is_no_evidence(crossed: Crossed) -> None:
    """With a label that 60 % of the images have, the network of 60 % may always answer with it."""
    guessed = replace(crossed, guessing=0.6)
    for study in (RobustnessRanking, PortabilityMatrix):
        signs = study.from_crossed(guessed).checks["hot_cold"]
        assert len(signs) == 1
        assert signs[0].startswith("weak: the clean accuracy 0.600 ")
        assert study.from_crossed(crossed).checks["hot_cold"] == ()


def test_sizes_of_an_attack_with_a_budget_are_no_evidence(
    bench: Bench, family: Family, make_images: Callable[[int], Split]
) -> None:
    """Of whom they fool, they may be."""
    budgeted = cross(family, make_images(60), [bench.attack_named("fgsm", eps=8 / 255), "fgs"], bench)
    ranking, matrix = RobustnessRanking.from_crossed(budgeted), PortabilityMatrix.from_crossed(budgeted)
    assert "fgsm spends a budget (eps=0.03137" in ranking.checks["fgsm"][0]
    assert not any("budget" in sign for sign in (*ranking.checks["fgs"], *matrix.checks["fgsm"]))


def test_attacks_are_compared_where_both_succeeded(crossed: Crossed) -> None:
    """On the only image that withstands the one, the other goes far enough to seem larger on the whole."""
    crafted = {attack: dict(by_network) for attack, by_network in crossed.crafted.items()}
    far = torch.where(torch.arange(N) > 0, 0.1, 1000.0).double()
    crafted["hot_cold"]["good"] = replace(crafted["hot_cold"]["good"], linf=far)
    other = replace(crossed, crafted=crafted)
    assert larger_on(crossed, "linf", "hot_cold", "fgs") == list(NAMES)
    assert larger_on(other, "linf", "hot_cold", "fgs") == ["weak", "fair"]
    assert larger_on(crossed, "pass_score", "fgs", "hot_cold") == list(NAMES)


def test_both_come_back_from_json_and_are_drawn(crossed: Crossed, tmp_path: Path) -> None:
    ranking, matrix = RobustnessRanking.from_crossed(crossed), PortabilityMatrix.from_crossed(crossed)
    for study, kind in ((ranking, RobustnessRanking), (matrix, PortabilityMatrix)):
        back = kind.from_json(study.to_json(tmp_path / "study.json"))
        assert back.table() == study.table()
        assert back.as_dict() == study.as_dict()
        with pytest.raises(SettingsError, match="this is no"):
            kind.from_dict({"study": "another"})
    assert draw_ranking(tmp_path / "bars.png", ranking).stat().st_size > 0
    assert draw_portability(tmp_path / "cells.png", matrix).stat().st_size > 0


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (None, "holds no"),
        ("", "holds no"),
        ("[1]", "this is no"),
        ("null", "this is no"),
        ('{"study": "another"}', "'another'"),
        ('{"study": "robustness ranking", "schema": 99}', "of schema 99, .* reads 1|'robustness ranking'"),
        ('{"study": "portability matrix", "schema": 1}', "KeyError|'portability matrix'"),
    ],
)
@pytest.mark.parametrize("kind", [RobustnessRanking, PortabilityMatrix])
def test_a_file_that_is_no_study_is_refused(
    kind: type[RobustnessRanking], text: str | None, sentence: str, tmp_path: Path
) -> None:
    if text is not None:
        (tmp_path / "study.json").write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError, match=sentence):
        kind.from_json(tmp_path / "study.json")


def test_paths_may_be_strings(crossed: Crossed, tmp_path: Path) -> None:
    ranking, matrix = RobustnessRanking.from_crossed(crossed), PortabilityMatrix.from_crossed(crossed)
    path = str(tmp_path / "new" / "file")
    assert RobustnessRanking.from_json(str(ranking.to_json(path))).table() == ranking.table()
    assert draw_ranking(f"{path}.png", ranking).is_file()
    assert draw_portability(f"{path}.png", matrix).is_file()


def test_a_picture_of_another_study_is_refused(crossed: Crossed, tmp_path: Path) -> None:
    ranking, matrix = RobustnessRanking.from_crossed(crossed), PortabilityMatrix.from_crossed(crossed)
    with pytest.raises(SettingsError, match="draw_ranking draws a RobustnessRanking, not a PortabilityMatrix"):
        draw_ranking(tmp_path / "x.png", matrix)  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="draw_portability draws a PortabilityMatrix, not a RobustnessRanking"):
        draw_portability(tmp_path / "x.png", ranking)  # type: ignore[arg-type]


def test_tables_stand_in_the_order_of_accuracy_and_name_everything(crossed: Crossed) -> None:
    table = RobustnessRanking.from_crossed(crossed).table("github")
    lines = [line for line in table.splitlines() if line.startswith("| fgs ")]
    assert [name for line in lines for name in NAMES if f"| {name} " in line] == list(NAMES)
    assert "97.5 % (86.8–99.9)" in table
    with pytest.raises(SettingsError, match="no 'pgd' on 'weak'"):
        RobustnessRanking.from_crossed(crossed).entry("pgd", "weak")
    with pytest.raises(SettingsError, match="no 'pgd'"):
        PortabilityMatrix.from_crossed(crossed).rate("pgd", "weak", "weak")


def test_a_users_own_networks_are_ranked_in_one_line(
    bench: Bench, family: Family, make_images: Callable[[int], Split]
) -> None:
    images = make_images(60)
    ranking = RobustnessRanking.of(family, images, ["fgs"], bench)
    matrix = PortabilityMatrix.of(family, images, ["fgs"], bench)
    assert set(ranking.networks) == set(matrix.networks) == set(family.members)
    assert ranking.images == matrix.images > 0


def test_the_summary_fits_a_terminal_and_says_what_is_missing(crossed: Crossed) -> None:
    few, none = torch.arange(N) < 3, torch.zeros(N, dtype=torch.bool)
    fgs = {"weak": made(0, 4.0, none, 0.0), "fair": made(1, 8.0, few, 1.0), "good": made(2, 12.0, few | ~few, 0.5)}
    hard = Crossed(**{**vars(crossed), "crafted": {**crossed.crafted, "fgs": fgs}})
    ranking = RobustnessRanking.from_crossed(hard)
    summary = ranking.summary()
    assert max(map(len, summary.splitlines())) <= 80
    blocks = summary.split("network, hot_cold")
    rows = {line.split()[0]: line for line in blocks[0].splitlines() if line.split()[:1] and line.split()[0] in NAMES}
    assert list(rows) == list(NAMES)
    assert rows["weak"].split()[-3:] == ["%", "–", "–"]
    assert rows["fair"].count("(too few)") == 2
    for text in (summary, ranking.table()):
        assert "nan" not in text
        assert "inf" not in text
    assert (ranking.images, ranking.all_images) == (N, IMAGES)


def test_large_sizes_are_written_out(crossed: Crossed) -> None:
    crossed.crafted["fgs"]["weak"].l2.mul_(1000)
    ranking = RobustnessRanking.from_crossed(crossed)
    assert "4000 (39" in ranking.summary()
    assert "e+0" not in ranking.table() + ranking.summary()


def test_no_interval_leaves_the_range_of_its_figure(crossed: Crossed) -> None:
    """One image in forty is far from the others, which Student's t takes to be so on both sides."""
    weak = crossed.crafted["fgs"]["weak"]
    for values, outlier in ((weak.pass_score, -1.0), (weak.l2, 900.0), (weak.linf, 250.0)):
        values.fill_(1.0)[0] = outlier
    figures = RobustnessRanking.from_crossed(crossed).entry("fgs", "weak").figures
    assert figures["pass_score"].upper == 1.0
    assert figures["pass_score"].lower < figures["pass_score"].value < 1.0
    assert [figures[name].lower for name in ("l2", "linf", "rms")] == [0.0] * 3
