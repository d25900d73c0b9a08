"""The two data sets that need no download: scikit-learn's digits, and letters from matplotlib's fonts."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from pytest_robust.catalogue import DATASETS, Registries
from pytest_robust.data import digits as digits_module
from pytest_robust.data import files as files_module
from pytest_robust.data import letters as letters_module
from pytest_robust.data.dataset import Dataset, DataSource
from pytest_robust.data.digits import digits
from pytest_robust.data.files import package_file
from pytest_robust.data.letters import ALPHABET, TEST_FONTS, TRAIN_FONTS, letters
from pytest_robust.errors import DataError

NOWHERE = DataSource(Path("/nonexistent"))


@pytest.fixture(scope="module")
def figures() -> Dataset:
    return digits(NOWHERE)


@pytest.fixture(scope="module")
def glyphs() -> Dataset:
    return letters(NOWHERE)


def images(dataset: Dataset) -> list[bytes]:
    return [image.numpy().tobytes() for image in torch.cat([dataset.train.x, dataset.test.x])]


def test_digits_are_those_of_scikit_learn(figures: Dataset) -> None:
    from sklearn.datasets import load_digits

    reference = load_digits()
    pairs = zip(reference.data, reference.target, strict=True)
    expected = {(image / 16).astype(np.float32).tobytes(): label for image, label in pairs}
    ours = dict(zip(images(figures), torch.cat([figures.train.y, figures.test.y]).tolist(), strict=True))
    assert ours == expected
    assert len(expected) == 1797


def test_digits_are_split_70_to_30_in_every_class(figures: Dataset) -> None:
    train, test = figures.train.y.bincount(minlength=10), figures.test.y.bincount(minlength=10)
    assert ((test / (train + test) - 0.3).abs() < 0.01).all()
    assert (len(figures.train), len(figures.test)) == (1258, 539)
    assert figures.out_distribution == "letters"


def test_letters_are_balanced_and_have_the_digits_shape(figures: Dataset, glyphs: Dataset) -> None:
    assert glyphs.input_shape == figures.input_shape == (1, 8, 8)
    assert glyphs.train.y.bincount().tolist() == [60] * 10
    assert glyphs.test.y.bincount().tolist() == [40] * 10
    assert glyphs.class_names == tuple("ABCDEFGHIJ")


@pytest.mark.parametrize("name", ["figures", "glyphs"])
def test_all_images_are_distinct_so_no_test_image_is_in_train(name: str, request: pytest.FixtureRequest) -> None:
    every = images(request.getfixturevalue(name))
    assert len(set(every)) == len(every)


@pytest.mark.parametrize("name", ["figures", "glyphs"])
def test_values_are_counts_of_sixteen_pixels(name: str, request: pytest.FixtureRequest) -> None:
    dataset = request.getfixturevalue(name)
    counts = torch.cat([dataset.train.x, dataset.test.x]) * 16
    assert torch.equal(counts, counts.round())
    assert counts.unique().tolist() == list(range(17))


def test_letters_look_like_digits(figures: Dataset, glyphs: Dataset) -> None:
    for part in ("train", "test"):
        ours, theirs = getattr(glyphs, part).x, getattr(figures, part).x
        assert abs(float(ours.mean() - theirs.mean())) < 0.04
        assert abs(float(ours.std() - theirs.std())) < 0.06
        ink = ours.flatten(1).sum(1)
        low, high = theirs.flatten(1).sum(1).aminmax()
        assert ((ink > 0.6 * low) & (ink < 1.2 * high)).all(), "a letter is blank or a block"
        frame = ours.mean((0, 1))
        assert frame[:, [0, 7]].max() < 0.05, "strokes belong into the middle columns, as the digits' do"


def test_letters_can_be_told_apart_across_font_families(glyphs: Dataset) -> None:
    distance = torch.cdist(glyphs.test.x.flatten(1), glyphs.train.x.flatten(1))
    nearest = glyphs.train.y[distance.argmin(1)]
    hits = nearest == glyphs.test.y
    assert float(hits.float().mean()) > 0.8
    for label in range(10):
        assert float(hits[glyphs.test.y == label].float().mean()) > 0.5, ALPHABET[label]


def test_letters_come_from_disjoint_families_that_have_them() -> None:
    from fontTools.ttLib import TTFont

    families: list[set[str]] = []
    for fonts in (TRAIN_FONTS, TEST_FONTS):
        family = set()
        for font in fonts:
            path = package_file("matplotlib", "mpl-data", "fonts", "ttf", f"{font}.ttf")
            with TTFont(path) as file:
                cmap, glyf = file.getBestCmap(), file["glyf"]
                assert all(glyf[cmap[ord(letter)]].numberOfContours for letter in ALPHABET), font
                assert len({cmap[ord(letter)] for letter in ALPHABET}) == 10, font
                family.add(str(file["name"].getDebugName(1)))
        families.append(family)
    assert not families[0] & families[1]
    assert all(name.startswith("DejaVu") for name in families[0])
    assert not any("DejaVu" in name or "Siz" in name for name in families[1])


def test_another_process_makes_the_same_bits_and_imports_nothing_heavy(figures: Dataset, glyphs: Dataset) -> None:
    code = """
import json, sys
from pytest_robust.data.dataset import DataSource
from pytest_robust.data.digits import digits
from pytest_robust.data.letters import letters
sets = letters(DataSource()), digits(DataSource())
made = [split.fingerprint for data in sets for split in (data.train, data.test)]
heavy = sorted({"art", "matplotlib", "sklearn", "torchvision"} & set(sys.modules))
print(json.dumps([made, heavy]))
"""
    environment = {**os.environ, "PYTHONHASHSEED": "123"}
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    made, heavy = json.loads(out.stdout)
    assert made == [split.fingerprint for data in (glyphs, figures) for split in (data.train, data.test)]
    assert heavy == []


def test_a_global_seed_changes_nothing(glyphs: Dataset, figures: Dataset) -> None:
    np.random.seed(5)
    before = np.random.get_state()[1].tolist()
    assert letters(NOWHERE).train.fingerprint == glyphs.train.fingerprint
    assert digits(NOWHERE).test.fingerprint == figures.test.fingerprint
    assert np.random.get_state()[1].tolist() == before


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"no gzip at all", "cannot be read"),
        (gzip.compress(b"1,2,3\n" * 400)[:-9], "cannot be read"),
        (gzip.compress(b"1,2,3\n4,5,6\n"), r"table of shape \(2, 3\) with SHA-256"),
        (gzip.compress(b"1,2,<html>\n"), "cannot be read"),
        (gzip.compress(b"1,2,-7\n"), "cannot be read"),
    ],
    # Named, because gzip writes the time into what would be the name: workers of xdist would not agree on it.
    ids=["no gzip", "cut short", "another shape", "markup", "a negative number"],
)
def test_another_table_of_digits_is_named(
    content: bytes, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "digits.csv.gz"
    path.write_bytes(content)
    monkeypatch.setattr(digits_module, "package_file", lambda *_: path)
    with pytest.raises(DataError, match=f"digits.csv.gz .*{words}.*reinstall scikit-learn"):
        digits(NOWHERE)


def test_a_package_without_the_file_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match=r"no/such\.ttf .*installed matplotlib \(looked at .*reinstall matplotlib"):
        package_file("matplotlib", "no", "such.ttf")
    monkeypatch.setattr(files_module, "find_spec", lambda _: None)
    with pytest.raises(DataError, match=r"digits\.csv\.gz .*sklearn \(not installed\)"):
        digits(NOWHERE)
    with pytest.raises(DataError, match=r"DejaVuSans\.ttf .*matplotlib \(not installed\)"):
        letters(NOWHERE)


def test_every_glyph_is_cut_to_its_ink() -> None:
    for font in (*TRAIN_FONTS, *TEST_FONTS):
        for glyph in letters_module._glyphs(font):
            pixels = np.asarray(glyph)
            assert min(glyph.size) > 12
            for edge in (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]):
                assert edge.max() > 0, font


def test_every_registered_data_set_and_companion_can_be_imported(figures: Dataset, glyphs: Dataset) -> None:
    registry = Registries().datasets
    for name in DATASETS:
        assert callable(registry.get(name))
        assert registry.get(name).__name__ == name
    for dataset in (figures, glyphs):
        assert dataset.name in registry
        assert dataset.out_distribution is None or dataset.out_distribution in registry
