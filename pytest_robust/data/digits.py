"""scikit-learn's embedded handwritten digits: a data set for real, without any download."""

from __future__ import annotations

import gzip
import hashlib
import zlib

import numpy as np
import torch

from pytest_robust.data.dataset import Dataset, DataSource
from pytest_robust.data.files import package_file
from pytest_robust.data.pixels import split_from_bytes
from pytest_robust.data.split import Split
from pytest_robust.errors import DataError

# Of the 1797 × 65 table as uint8 in C order: it does not depend on how scikit-learn writes its numbers.
TABLE_SHA256 = "68aea062d35a127749050fa0e52dca09d6569ac08092c925610e0954e172dde2"
TEST_SHARE = 0.3
SPLIT_SEED = 0


def digits(source: DataSource) -> Dataset:  # noqa: ARG001 - every data set is made from a DataSource
    """Handwritten digits, 1 × 8 × 8 in [0, 1] in steps of 1/16: 1,258 for training, 539 for testing.

    Each image is a 32 × 32 bitmap counted in blocks of 4 × 4 pixels. The split is random, stratified and fixed.

    Source: E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository, 1998
    (the test part, as shipped by scikit-learn). Licence: CC BY 4.0.

    Raises:
        DataError: the installed scikit-learn does not ship the table, or ships another one.
    """
    table = _table()
    labels = table[:, -1]
    test = _stratified(labels)
    return Dataset(
        name="digits",
        train=_split(table[~test], "digits/train"),
        test=_split(table[test], "digits/test"),
        class_names=tuple("0123456789"),
        out_distribution="letters",
    )


def _split(table: np.ndarray, name: str) -> Split:
    pixels = torch.from_numpy(table[:, :-1].reshape(-1, 8, 8))
    return split_from_bytes(pixels, torch.from_numpy(table[:, -1]), 10, name, white=16)


def _table() -> np.ndarray:
    """The packaged table, uint8 (1797, 65): 64 pixels in 0..16 and the label.

    Read here because importing ``sklearn.datasets`` takes seconds.
    """
    path = package_file("sklearn", "datasets", "data", "digits.csv.gz")
    try:
        with gzip.open(path, "rt", encoding="ascii") as file:
            table = np.loadtxt(file, delimiter=",", dtype=np.uint8, ndmin=2)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise DataError(f"digits: {path} cannot be read ({error}): reinstall scikit-learn.") from error
    found = hashlib.sha256(table.tobytes()).hexdigest()
    if found != TABLE_SHA256:
        raise DataError(
            f"digits: {path} holds a table of shape {table.shape} with SHA-256 {found}, not the 1797 × 65 digits "
            f"with {TABLE_SHA256}: reinstall scikit-learn."
        )
    return table


def _stratified(labels: np.ndarray) -> np.ndarray:
    """Which rows are for testing, a bool mask: the same share of each class.

    NumPy promises that RandomState draws the same numbers in every version; it promises no such thing of Generator.
    """
    draw = np.random.RandomState(SPLIT_SEED)
    test = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        rows = draw.permutation(np.flatnonzero(labels == label))
        test[rows[: round(TEST_SHARE * len(rows))]] = True
    return test
