"""Pictures are written, and show what they were given: texts, empty cells, error bars, how many points."""

from __future__ import annotations

import ast
import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from pytest_robust.errors import SettingsError
from pytest_robust.evaluation.mean import mean_of
from pytest_robust.evaluation.pairs import pair_means
from pytest_robust.evaluation.rate import Rate
from pytest_robust.gate.worst import WorstImages
from pytest_robust.reports import canvas, embeddings
from pytest_robust.reports.bars import draw_bars
from pytest_robust.reports.embeddings import draw_embeddings
from pytest_robust.reports.heat_maps import draw_heat_maps
from pytest_robust.reports.histograms import BINS, draw_histograms, draw_perturbation_histograms
from pytest_robust.reports.image_grids import draw_mean_images, draw_mean_perturbations
from pytest_robust.reports.image_pairs import draw_image_pairs, draw_worst_images
from pytest_robust.reports.vote_bars import OTHERS, draw_votes
from pytest_robust.threats.decision import Decision

NAN = float("nan")


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Figures in the order in which they were saved."""
    saved: list[Any] = []
    original = Figure.savefig

    def save(self: Any, *args: Any, **settings: Any) -> None:
        saved.append(self)
        original(self, *args, **settings)

    monkeypatch.setattr(Figure, "savefig", save)
    return saved


def is_picture(path: Path) -> bool:
    data = path.read_bytes()
    width, height = struct.unpack(">II", data[16:24])
    return data.startswith(b"\x89PNG") and width > 200 and height > 200 and len(data) > 3000


def texts(axis: Any) -> list[str]:
    return [text.get_text() for text in axis.texts]


def means(channels: int, side: int = 8, classes: int = 3) -> torch.Tensor:
    images = torch.rand(classes**2, channels, side, side, generator=torch.Generator().manual_seed(0))
    pairs = torch.cartesian_prod(torch.arange(classes), torch.arange(classes)).T
    return pair_means(images, *pairs, classes)


@pytest.mark.parametrize("channels", [1, 3])
def test_grid_of_images_shows_each_mean_in_its_cell(tmp_path: Path, drawn: list[Any], channels: int) -> None:
    grid = means(channels)
    grid[1, 2] = NAN
    path = draw_mean_images(tmp_path / "new" / "grid.png", "Mean images", grid, ["cat", "automobile", "dog"])
    assert is_picture(path)
    (axis,) = drawn[0].axes
    assert [t.get_text() for t in axis.get_yticklabels()] == ["cat", "automobile", "dog"]
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("target class", "original class")
    shown = np.asarray(axis.images[0].get_array())
    assert shown.shape == (26, 26, 4)
    expected = grid[2, 0].expand(3, -1, -1).permute(1, 2, 0).numpy()
    np.testing.assert_allclose(shown[18:26, 0:8, :3], expected)
    assert shown[9:17, 18:26, 3].max() == 0  # the empty pair
    assert shown[8, :, 3].max() == 0  # a gap
    assert shown[0:8, 0:8, 3].min() == 1


@pytest.mark.parametrize(("channels", "panels"), [(1, 1), (3, 2)])
def test_grid_of_perturbations_is_centred_on_zero(tmp_path: Path, drawn: list[Any], channels: int, panels: int) -> None:
    grid = means(channels) - 0.3
    assert is_picture(draw_mean_perturbations(tmp_path / "grid.png", "Perturbations", grid, ["a", "b", "c"]))
    assert len(drawn[0].axes) == panels + 1  # and the colour bar
    low, high = drawn[0].axes[0].images[0].get_clim()
    assert low == -high
    assert high <= float(grid.mean(2).abs().max())
    assert any("mean perturbation" in axis.get_ylabel() for axis in drawn[0].axes)


@pytest.mark.parametrize("value", [0.0, NAN])
def test_grid_of_nothing_is_drawn(tmp_path: Path, value: float) -> None:
    grid = torch.full((2, 2, 3, 8, 8), value)
    assert is_picture(draw_mean_perturbations(tmp_path / "p.png", "Nothing", grid, ["a", "b"]))
    assert is_picture(draw_mean_images(tmp_path / "i.png", "Nothing", grid, ["a", "b"]))


@pytest.mark.parametrize("shape", [(2, 3, 1, 4, 4), (3, 3, 2, 4, 4), (3, 3, 4, 4)])
def test_grids_refuse_other_shapes(tmp_path: Path, shape: tuple[int, ...]) -> None:
    for draw in (draw_mean_images, draw_mean_perturbations):
        with pytest.raises(SettingsError, match=r"a grid of 3 classes needs means of shape \(3, 3, C, H, W\)"):
            draw(tmp_path / "x.png", "x", torch.zeros(shape), ["a", "b", "c"])


def test_histograms_are_of_norms_and_pixels(tmp_path: Path, drawn: list[Any]) -> None:
    delta = torch.zeros(60, 1, 4, 4)
    delta[:, 0, 0, 0] = torch.linspace(-0.5, 0.5, 60)
    sets = {"minimal": delta, "extended": delta * 2, "nothing": delta[:0]}
    assert is_picture(draw_perturbation_histograms(tmp_path / "h.png", "Sizes", sets))
    first, _, pixels = drawn[0].axes
    assert [a.get_xlabel() for a in drawn[0].axes] == ["L1 norm", "L2 norm", "pixel value of the perturbation"]
    assert first.get_legend_handles_labels()[1] == ["minimal (n=60)", "extended (n=60)"]
    assert (first.get_yscale(), pixels.get_yscale()) == ("linear", "log")
    values, edges, _ = first.patches[1].get_data()
    counted, _ = np.histogram(delta.abs().flatten(1).sum(1).numpy(), edges)
    np.testing.assert_allclose(values, counted / 60, atol=1 / 60 + 1e-9)
    assert values.sum() == pytest.approx(1)


def test_histogram_of_one_value_and_of_general_panels(tmp_path: Path, drawn: list[Any]) -> None:
    assert is_picture(draw_histograms(tmp_path / "h.png", "Votes", {"entropy": {"clean": torch.full((5,), 2.0)}}))
    values, edges, _ = drawn[0].axes[0].patches[0].get_data()
    assert (len(values), values.max(), edges[0] < 2 < edges[-1]) == (BINS, 1, True)


@pytest.mark.parametrize(
    ("panels", "message"),
    [
        ({}, "no panel"),
        ({"L2": {}}, "no set has a value"),
        ({"L2": {"a": torch.empty(0)}}, "no set has a value"),
        ({"L2": {"a": torch.tensor([NAN, 1.0])}}, "not finite"),
    ],
)
def test_histograms_refuse_what_has_no_picture(tmp_path: Path, panels: dict, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        draw_histograms(tmp_path / "h.png", "Empty", panels)


def test_heat_map_prints_its_numbers_and_leaves_empty_cells_blank(tmp_path: Path, drawn: list[Any]) -> None:
    matrix = torch.tensor([[NAN, 0.25, 1.0], [0.5, NAN, 0.0]])
    path = draw_heat_maps(
        tmp_path / "m.png",
        "Thwarted",
        {"minimal": matrix, "extended": matrix / 2},
        ["r1", "r2"],
        ["c1", "c2", "c3"],
        row_label="original",
        column_label="target",
    )
    assert is_picture(path)
    left, right, _ = drawn[0].axes
    assert texts(left) == ["0.25", "1.00", "0.50", "0.00"]
    assert texts(right) == ["0.12", "0.50", "0.25", "0.00"]
    assert left.images[0].get_clim() == right.images[0].get_clim() == (0, 1)
    assert left.texts[1].get_color() == "black"  # on the lightest colour
    assert left.texts[3].get_color() == "white"  # on the darkest
    assert np.ma.getmaskarray(left.images[0].get_array()).tolist() == [[True, False, False], [False, True, False]]


def test_heat_map_refuses_other_shapes(tmp_path: Path) -> None:
    for matrices in ({"wrong": torch.zeros(2, 3)}, {}):
        with pytest.raises(SettingsError, match=r"every matrix must be of shape \(2, 2\)"):
            draw_heat_maps(tmp_path / "m.png", "T", matrices, "ab", "ab", row_label="r", column_label="c")


def test_embedding_says_how_many_points_it_shows(
    tmp_path: Path, drawn: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    points = torch.randn(60, 1, 3, 3, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(60) % 2 == 1
    spaces = {"raw images": points, "features": points.flatten(1)[:, :2]}
    monkeypatch.setattr(embeddings, "MOST_POINTS", 40)
    for _ in range(2):
        assert is_picture(draw_embeddings(tmp_path / "t.png", "Figure 4", spaces, labels, ["clean", "attacked"], 0))
    first, second = ([c.get_offsets() for a in f.axes for c in a.collections] for f in drawn)
    assert [len(c) for c in first] == [len(c) for c in first[:2]] * 2
    assert sum(map(len, first)) == 2 * 40
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert drawn[0].get_suptitle() == "Figure 4\n(t-SNE, 40 of 60 points, drawn at random)"
    assert [a.get_title() for a in drawn[0].axes] == ["raw images", "features"]


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (torch.ones(9, 2), "not all one"),
        (torch.full((9, 2), torch.nan), "finite"),
        (torch.rand(8, 2), "the same 4 points or more"),
    ],
)
def test_embedding_refuses_what_has_no_map(tmp_path: Path, points: torch.Tensor, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        draw_embeddings(tmp_path / "t.png", "T", {"space": points}, torch.zeros(9), ["only"], 0)


def test_bars_carry_their_intervals(tmp_path: Path, drawn: list[Any]) -> None:
    settings = {
        "FGSM": {"single": Rate(30, 100), "ensemble": Rate(60, 100)},
        "BIM": {"single": Rate(0, 0), "ensemble": mean_of(torch.ones(3))},
        "CW": {"ensemble": Rate(100, 100)},
    }
    assert is_picture(draw_bars(tmp_path / "b.png", "Accuracy", settings, "accuracy"))
    (axis,) = drawn[0].axes
    single, ensemble = (c for c in axis.containers if type(c).__name__ == "BarContainer")
    assert [p.get_height() for p in single] == [0.3]
    assert [p.get_height() for p in ensemble] == [0.6, 1.0, 1.0]
    segments = [s for c in axis.collections for s in c.get_segments()]
    ends = sorted((float(s[0][1]), float(s[1][1])) for s in segments)
    rates = (Rate(30, 100), Rate(60, 100), Rate(100, 100))  # the mean of three has no interval to draw
    assert np.allclose(ends, [(r.lower, r.upper) for r in rates])
    assert math.isfinite(axis.get_ylim()[1])
    assert [t.get_text() for t in drawn[0].legends[0].get_texts()] == ["single", "ensemble"]


def test_bars_of_one_method_need_no_legend_and_long_names_turn(tmp_path: Path, drawn: list[Any]) -> None:
    draw_bars(
        tmp_path / "b.png", "MSE", {f"a very long name of setting {i}": {"": Rate(1, 2)} for i in range(7)}, "mse"
    )
    assert drawn[0].legends == []
    assert {t.get_rotation() for t in drawn[0].axes[0].get_xticklabels()} == {30.0}
    with pytest.raises(SettingsError, match="no figures to draw"):
        draw_bars(tmp_path / "b.png", "MSE", {"fgsm": {}}, "mse")


@pytest.mark.parametrize("path", sorted(Path(canvas.__file__).parent.glob("*.py")), ids=lambda path: path.name)
def test_matplotlib_is_imported_when_something_is_drawn_and_pyplot_never(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom))]
    assert not any("pyplot" in ast.unparse(node) for node in imports)
    assert not any("matplotlib" in ast.unparse(node) for node in tree.body if node in imports)


def worst(channels: int, n: int = 3) -> WorstImages:
    generator = torch.Generator().manual_seed(0)
    clean = torch.rand(n, channels, 8, 8, generator=generator)
    attacked = (clean + 0.1 * torch.rand(n, channels, 8, 8, generator=generator)).clamp(0, 1)
    before = Decision(torch.arange(n), torch.zeros(n, dtype=torch.bool), torch.zeros(n))
    after = Decision(torch.arange(n) + 1, torch.zeros(n, dtype=torch.bool), torch.zeros(n))
    return WorstImages([40, 7, 12][:n], torch.arange(n), clean, before, attacked, after)


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_worst_images_stand_over_what_the_attack_made_of_them(tmp_path: Path, drawn: list[Any], channels: int) -> None:
    shown = worst(channels)
    assert is_picture(draw_worst_images(tmp_path / "worst.png", "Worst", shown))
    axes = drawn[0].axes
    panels = [np.asarray(axis.images[0].get_array()) for axis in axes[:9]]
    as_shown = (lambda x: x.permute(1, 2, 0)) if channels == 3 else (lambda x: x.mean(0))
    for column in range(3):
        clean, attacked = shown.clean[column], shown.attacked[column]
        assert np.array_equal(panels[column], as_shown(clean).numpy())
        assert np.array_equal(panels[3 + column], as_shown(attacked).numpy())
        assert np.allclose(panels[6 + column], (attacked - clean).mean(0).numpy())
    assert [axis.get_title() for axis in axes[:3]] == ["#40, is 0:\n0 → 1", "#7, is 1:\n1 → 2", "#12, is 2:\n2 → 3"]
    assert [axes[i].get_ylabel() for i in (0, 3, 6)] == ["as it is", "attacked", "difference"]
    assert drawn[0].get_supxlabel() == "#position in the data, is its label: the answer → when attacked"
    limits = {axis.images[0].get_clim() for axis in axes[6:9]}
    assert len(limits) == 1, "differences are on one scale"


def test_worst_images_without_an_attack_are_one_row(tmp_path: Path, drawn: list[Any]) -> None:
    shown = worst(1)
    draw_worst_images(tmp_path / "worst.png", "Worst", WorstImages(shown.index, shown.y, shown.clean, shown.answers))
    assert [axis.get_ylabel() for axis in drawn[0].axes] == ["as it is", "", ""]
    with pytest.raises(SettingsError, match="at least one"):
        draw_worst_images(tmp_path / "none.png", "Worst", worst(1, 0))


@pytest.mark.parametrize(("after", "captions"), [((2, 1, 8, 8), 2), ((3, 1, 8, 8), 2), ((3, 3, 8, 8), 3)])
def test_pairs_of_images_that_do_not_fit_are_refused(tmp_path: Path, after: tuple[int, ...], captions: int) -> None:
    with pytest.raises(SettingsError, match="one caption for each"):
        draw_image_pairs(tmp_path / "no.png", "Pairs", torch.rand(3, 1, 8, 8), torch.rand(after), ["x"] * captions)


def test_votes_are_bars_in_the_colours_of_their_classes(tmp_path: Path, drawn: list[Any]) -> None:
    votes = {"original": torch.tensor([9.0, 1.0, 0.0, 0.0]), "adversary": torch.tensor([3.0, 2.0, 0.0, 5.0])}
    assert is_picture(draw_votes(tmp_path / "votes.png", "Votes", votes, ["cat", "dog", "frog", "ship"], 0, 3))
    for axis, counts in zip(drawn[0].axes, votes.values(), strict=True):
        bars = axis.patches
        assert [bar.get_height() for bar in bars] == counts.tolist()
        colours = [canvas.COLOURS[0], OTHERS, OTHERS, canvas.COLOURS[1]]
        assert [bar.get_facecolor() for bar in bars] == [to_rgba(colour) for colour in colours]
    with pytest.raises(SettingsError, match="4 classes"):
        draw_votes(tmp_path / "no.png", "Votes", {"a": torch.zeros(3)}, ["cat", "dog", "frog", "ship"], 0, 3)
