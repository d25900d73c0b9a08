"""The studies of numbers made up so that every mix-up shows: images out of order, groups of None, one-sided cells."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn
from toy_networks import CLASSES, SHAPE, linear, templates

from pytest_robust.attacks.adversarial_set import AdversarialSet
from pytest_robust.bench.bench import Bench
from pytest_robust.data.pixels import to_8bit
from pytest_robust.data.split import Split
from pytest_robust.models.classifier import Classifier
from pytest_robust.models.family import Family, right_by_all
from pytest_robust.reports.study_figures import PANELS, draw_portability, draw_ranking
from pytest_robust.studies import crossed as crossing
from pytest_robust.studies.contrasts import across_groups, within_groups
from pytest_robust.studies.crossed import Crafted, Crossed, cross
from pytest_robust.studies.images import CHUNK
from pytest_robust.studies.numbers import numbers_of
from pytest_robust.studies.portability import PortabilityMatrix
from pytest_robust.studies.ranking import RobustnessRanking

MakeImages = Callable[[int], Split]
NAMES = ("lone", "own", "twin", "other twin")
#: How many of the 40 images made on each network (rows) fool each (columns); no two cells off the diagonal are alike.
FOOLED = torch.tensor([[40, 1, 2, 3], [5, 40, 6, 7], [9, 10, 40, 11], [13, 14, 15, 40]])
N = 40


def made(size: Tensor, fooled: Tensor, success: Tensor | None = None) -> Crafted:
    """Perturbations of these L2 sizes, (N,), whose first so many images fool each network."""
    n = len(size)
    success = torch.ones(n, dtype=torch.bool) if success is None else success
    fools = (torch.arange(n)[:, None] < fooled) & success[:, None]
    none = torch.zeros(n, dtype=torch.bool)
    score = torch.where(success, 1 - size / 100, torch.nan).double()
    return Crafted(success, none, 0.0, size, size / 4, score, success.clone(), (~success).long(), fools, False)


def crossed_of(correct: Tensor, attacked: Tensor, crafted: dict[str, Crafted]) -> Crossed:
    names = tuple(crafted)
    groups = {name: "twins" if "twin" in name else None for name in names}
    return Crossed("made up", "images", names, groups, ("fgs",), correct, attacked, 64, {"fgs": crafted}, 0)


@pytest.fixture
def crossed() -> Crossed:
    """Four networks, two of them of no group, that 40 of 60 images in no order were attacked on."""
    correct = torch.arange(60)[:, None] < torch.tensor([48, 51, 54, 57])
    attacked = torch.randperm(48, generator=torch.Generator().manual_seed(1))[:N]
    sizes = [8.0 + 4 * i + torch.linspace(-1, 1, N).double() for i in range(4)]
    return crossed_of(correct, attacked, {n: made(s, f) for n, s, f in zip(NAMES, sizes, FOOLED, strict=True)})


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Figures in the order in which they were saved."""
    saved: list[Any] = []
    monkeypatch.setattr(Figure, "savefig", lambda self, *_args, **_settings: saved.append(self))
    return saved


def test_a_draw_gives_an_attacked_image_its_own_weight() -> None:
    """Accuracy hangs on images 0 to 10 and sizes on 11 to 21: drawn apart, their order is now this and now that."""
    turns = torch.arange(11) % 2 == 0
    correct = torch.ones(22, 3, dtype=torch.bool)
    correct[:11, 0], correct[:11, 1] = ~turns, turns
    sizes = torch.where(turns, 1.0, 2.0).double()
    crafted = {"a": made(sizes, FOOLED[0]), "b": made(3 - sizes, FOOLED[1]), "c": made(sizes + 9, FOOLED[2])}
    rho = RobustnessRanking.from_crossed(crossed_of(correct, torch.arange(11, 22), crafted)).correlations["fgs"]["l2"]
    assert rho.lower == pytest.approx(0.5)


def test_networks_of_no_group_share_none(crossed: Crossed) -> None:
    assert within_groups(crossed) == [(2, 3), (3, 2)]
    assert len(across_groups(crossed)) == 10


def test_common_figures_are_of_the_images_that_fool_all() -> None:
    """The last network withstands the images that cost most, which turns its place around."""
    sizes = torch.linspace(1, 9, N).double()
    easy = sizes < 4
    crafted = {"a": made(sizes, FOOLED[0]), "b": made(sizes + 0.5, FOOLED[1]), "c": made(sizes + 1, FOOLED[2], easy)}
    correct = torch.arange(60)[:, None] < torch.tensor([48, 51, 54])
    ranking = RobustnessRanking.from_crossed(crossed_of(correct, torch.arange(N), crafted))
    assert ranking.common["fgs"]["l2"].value == 1.0
    assert ranking.correlations["fgs"]["l2"].value == pytest.approx(-0.5)
    assert ranking.entry("fgs", "c").unaligned == 0  # nor were the failures aligned, but they have no PASS


def test_successes_without_an_alignment_are_counted(crossed: Crossed) -> None:
    crossed.crafted["fgs"]["own"].aligned[:7] = False
    crossed.crafted["fgs"]["own"].success[5:12] = False
    assert RobustnessRanking.from_crossed(crossed).entry("fgs", "own").unaligned == 5


def test_the_picture_of_portability_has_crafted_on_in_rows(crossed: Crossed, drawn: list[Any], tmp_path: Path) -> None:
    draw_portability(tmp_path / "cells.png", PortabilityMatrix.from_crossed(crossed))
    axis = drawn[0].axes[0]
    shown = torch.from_numpy(axis.images[0].get_array().filled())
    assert shown.allclose(100 * FOOLED.double() / N)
    assert [label.get_text() for label in axis.get_yticklabels()] == list(NAMES)
    assert (axis.get_ylabel(), axis.get_xlabel()) == ("crafted on", "tested on")


def test_every_panel_of_the_ranking_draws_its_own_figure(crossed: Crossed, drawn: list[Any], tmp_path: Path) -> None:
    ranking = RobustnessRanking.from_crossed(crossed)
    draw_ranking(tmp_path / "bars.png", ranking)
    panels = {axis.get_ylabel(): [bar.get_height() for bar in axis.patches] for axis in drawn[0].axes}
    for metric, label in PANELS.items():
        assert panels[label] == [ranking.entry("fgs", name).figures[metric].value for name in ranking.networks]


def test_another_tested_network_gives_other_portabilities(
    bench: Bench, family: Family, make_images: MakeImages
) -> None:
    first, second, third = family.members.values()
    images = make_images(120)
    right = right_by_all("toys", bench.predictions(family, images), images)
    images = images.subset(right)  # so that both families are attacked on the same images
    for tested in (second, third):
        found = cross(Family("pair", {"first": first, "tested": tested}), images, ["fgs"], bench)
        attacked = images.subset(found.attacked)
        slow = bench.attack(first, "fgs", Split(to_8bit(attacked.x), attacked.y, CLASSES, "attacked"))
        expected = slow.success & (tested.predict(slow.x) != attacked.y)
        assert found.crafted["fgs"]["first"].fools[:, 1].equal(expected)


@pytest.mark.parametrize("edited", ["alignment", "ssim", "numbers"])
def test_edited_code_makes_the_numbers_anew(
    bench: Bench, family: Family, make_images: MakeImages, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, edited: str
) -> None:
    cross(family, make_images(20), ["fgs"], bench)
    other = ModuleType(edited)
    other.__file__ = str(tmp_path / "edited.py")
    (tmp_path / "edited.py").write_text("# edited\n", encoding="utf-8")
    monkeypatch.setattr(crossing, edited, other)
    again = Bench(bench.settings)
    cross(family, make_images(20), ["fgs"], again)
    assert again.ledger.count("reused") == 0


def test_what_is_unstable_stays_told(family: Family, make_images: MakeImages) -> None:
    images = make_images(6)
    unstable = torch.arange(6) == 4
    adversarial = AdversarialSet(images, images.x, torch.zeros(6, dtype=torch.bool), unstable)
    (surface, *_) = networks = list(family.members.values())
    assert numbers_of(adversarial, surface, networks).tensors["unstable"].equal(unstable)


class BlindToDark(nn.Module):
    """Of images whose first pixel is dark it knows that they are of class 0, and has no gradient there."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        dark = (x[:, 0, 0, 0] < 0.5)[:, None]
        return torch.where(dark, torch.tensor([9.0, 0.0, 0.0]), self.inner(x))


def test_zero_gradients_are_counted_over_all_chunks(bench: Bench, make_images: MakeImages) -> None:
    net = Classifier(BlindToDark(linear(templates(), "seeing").network), num_classes=CLASSES, input_shape=SHAPE)
    seen = make_images(2 * CHUNK)
    x = seen.x.clone()
    x[:, 0, 0, 0] = (torch.arange(len(x)) % 3).clamp(max=1).float()
    images = Split(x, seen.y, CLASSES, "some dark")
    found = cross(Family("one", {"blind": net}), images, ["fgs"], bench)
    assert CHUNK < len(found.attacked) < 2 * CHUNK
    dark = images.x[found.attacked, 0, 0, 0] < 0.5
    assert 0 < float(dark[:CHUNK].double().mean()) != float(dark.double().mean())
    assert found.crafted["fgs"]["blind"].zero_gradient == pytest.approx(float(dark.double().mean()))
