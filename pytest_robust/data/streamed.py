"""A StreamedDataset: test images that stay in their files, for networks that were trained elsewhere."""

from __future__ import annotations

from typing import NoReturn

import torch

from pytest_robust.data.dataset import Dataset
from pytest_robust.data.images import Images
from pytest_robust.data.split import Split
from pytest_robust.errors import DataError

#: More than this is not read into memory at once.
MOST_BYTES = 4 * 2**30
_CHUNK = 64


class StreamedDataset(Dataset):
    """A data set without training images, whose test images are read when they are needed.

    `test_images` gives them in chunks. `test` reads all of them into memory.

    Args:
        name: the name under which it is registered.
        test_images: where they are read from.
        class_names: one name per label.
    """

    def __init__(self, name: str, test_images: Images, class_names: tuple[str, ...]) -> None:
        fields = {"name": name, "class_names": class_names, "out_distribution": None, "skipped": ()}
        for field, value in {**fields, "_test_images": test_images}.items():
            object.__setattr__(self, field, value)  # as a frozen dataclass sets its own

    @property
    def train(self) -> NoReturn:
        """There are none.

        Raises:
            DataError: always.
        """
        raise DataError(
            f"{self.name} has test images only, so nothing can be trained on it: name pretrained networks with "
            "--family, or wrap one in pytest_robust.Classifier."
        )

    @property
    def test(self) -> Split:
        """All test images in memory.

        Raises:
            DataError: they would take more than 4 GiB.
        """
        return loaded(self.test_images)

    @property
    def test_images(self) -> Images:
        """The test images, read in chunks."""
        images: Images = vars(self)["_test_images"]
        return images

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        return self.test_images.input_shape


def loaded(images: Images) -> Split:
    """All of `images` in memory.

    Raises:
        DataError: they would take more than 4 GiB.
    """
    if isinstance(images, Split):
        return images
    size = 4 * len(images) * torch.Size(images.input_shape).numel()
    if size > MOST_BYTES:
        raise DataError(
            f"{images.name}: {len(images):,} images would take {size / 2**30:.0f} GiB of memory: read them with "
            "chunks(64), or choose fewer with sample(size, seed)."
        )
    parts = list(images.chunks(_CHUNK))
    x = torch.cat([part.x for part in parts]) if parts else torch.empty(0, *images.input_shape)
    return Split(x, images.y, images.num_classes, images.name)
