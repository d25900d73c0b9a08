"""A Dataset: a train and a test Split, class names, and the name of its out-distribution companion."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from pytest_robust.data.images import Images
from pytest_robust.data.split import Split
from pytest_robust.errors import DataError


@dataclass(frozen=True)
class DataSource:
    """Where data sets find their files.

    Args:
        root: folder in torchvision's layout (``--data-root``); None if the user named none.
        download: whether a missing data set may be fetched (``--download``).
    """

    root: Path | None = None
    download: bool = False


@dataclass(frozen=True, eq=False)
class Dataset:
    """A named data set. Registered as a function from a `DataSource` to a `Dataset`.

    Args:
        name: the name under which it is registered.
        train: training images.
        test: test images.
        class_names: one name per label.
        out_distribution: registered name of the data set of foreign images that goes with this one, if any.
        skipped: files that could not be decoded and were left out, for the report.
    """

    name: str
    train: Split
    test: Split
    class_names: tuple[str, ...]
    out_distribution: str | None = None
    skipped: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        for split in (self.train, self.test):
            if split.num_classes != len(self.class_names):
                raise DataError(
                    f"{self.name}: {split.name} counts {split.num_classes} classes, but {len(self.class_names)} "
                    "class names are given."
                )
        if self.train.input_shape != self.test.input_shape:
            raise DataError(
                f"{self.name}: train images are {self.train.input_shape} (C, H, W), test images "
                f"{self.test.input_shape}; they must agree."
            )

    @property
    def num_classes(self) -> int:
        """How many classes."""
        return len(self.class_names)

    @property
    def test_images(self) -> Images:
        """The test images as a study takes them, in chunks; here they are in memory anyway."""
        return self.test

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        return self.train.input_shape
