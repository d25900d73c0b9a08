"""ImageNet's test images: the validation set in torchvision's layout, or a sample of one image per class."""

from __future__ import annotations

from pytest_robust.data.dataset import DataSource
from pytest_robust.data.files import data_root
from pytest_robust.data.image_folder import LABELS, ImageFolder
from pytest_robust.data.streamed import StreamedDataset
from pytest_robust.errors import DataError, MissingDataError

VALIDATION = "imagenet/val"
SAMPLE = "imagenet-sample"
NUM_CLASSES = 1000


def imagenet(source: DataSource) -> StreamedDataset:
    """Photographs of 1,000 classes, 3 × 224 × 224 in [0, 1], streamed: the middle of images resized to 256.

    From ``imagenet/val/`` (torchvision's layout: one sub-folder per synset, 50,000 images) or else
    ``imagenet-sample/`` (a ``labels.csv`` and its images) under the data root. There are test images only. Classes
    are the sorted synsets, as pretrained networks count them.

    Source: O. Russakovsky et al., "ImageNet Large Scale Visual Recognition Challenge", IJCV 115, 2015. The images
    are for non-commercial research and education; the copyright stays with the photographers.

    Raises:
        MissingDataError: neither folder is there.
        DataError: another number of classes, or a table that cannot be read.
    """
    root = data_root(source)
    if (root / VALIDATION).is_dir():
        name, folder = "imagenet/val", root / VALIDATION
    elif (root / SAMPLE / LABELS).is_file():
        name, folder = "imagenet/sample", root / SAMPLE
    else:
        raise MissingDataError(
            f"imagenet: neither {VALIDATION}/ nor {SAMPLE}/{LABELS} is under {root}: pass --data-root DIR, where DIR "
            "holds one of them; it cannot be downloaded, because image-net.org asks for an agreement first."
        )
    images = ImageFolder.open(folder, name=name)
    if images.num_classes != NUM_CLASSES:
        raise DataError(
            f"imagenet: {folder} has {images.num_classes} classes instead of {NUM_CLASSES}, so that labels would not "
            "be those of pretrained networks: restore the classes that are not there."
        )
    return StreamedDataset("imagenet", images, images.class_names)
