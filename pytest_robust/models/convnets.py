"""The built-in networks: from the number of classes and the input shape (C, H, W) to an untrained ``nn.Module``.

Each maps normalised images (N, C, H, W) to logits (N, num_classes). The input of the last ``nn.Linear`` is what
`Classifier.features` calls the penultimate features.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

Shape = tuple[int, int, int]


def cuda_convnet(num_classes: int, input_shape: Shape) -> nn.Module:
    """cuda-convnet's ``layers-18pct``, the MNIST network of the dustbin paper (arXiv:1804.08794).

    Three convolutions 5×5 of 32, 32 and 64 filters, each pooled 3×3 with stride 2 (maximum, then average twice; the
    first ReLU comes after its pooling), dropout 0.5, one linear layer. Pooling rounds up, as cuda-convnet does. Its
    response normalisation is left out: the paper names none. For images of 8×8 and more.
    """
    c, h, w = input_shape
    return nn.Sequential(
        nn.Conv2d(c, 32, 5, padding=2),
        nn.MaxPool2d(3, 2, ceil_mode=True),
        nn.ReLU(),
        nn.Conv2d(32, 32, 5, padding=2),
        nn.ReLU(),
        nn.AvgPool2d(3, 2, ceil_mode=True),
        nn.Conv2d(32, 64, 5, padding=2),
        nn.ReLU(),
        nn.AvgPool2d(3, 2, ceil_mode=True),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(64 * _pooled(h, 3) * _pooled(w, 3), num_classes),
    )


def cuda_convnet_digits(num_classes: int, input_shape: Shape) -> nn.Module:
    """`cuda_convnet` for 8×8 images: its filters, in kernels of 3×3, and one pooling, as three leave one pixel.

    For images of 2×2 and more.
    """
    c, h, w = input_shape
    return nn.Sequential(
        nn.Conv2d(c, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2, ceil_mode=True),
        nn.Conv2d(32, 32, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(64 * _halved(h, 1) * _halved(w, 1), num_classes),
    )


def vgg16(num_classes: int, input_shape: Shape) -> nn.Module:
    """VGG-16 for 32×32 images: 13 convolutions 3×3 and three linear layers, 512 wide (arXiv:1409.1556).

    With batch normalisation: without it, thirteen layers from PyTorch's initialisation do not start to learn at
    usual learning rates. The linear layers are 512 wide instead of 4096, as is usual at this image size.
    """
    c, h, w = input_shape
    features = [*_vgg_blocks(c, (2, 2, 3, 3, 3), (64, 128, 256, 512, 512)), nn.Flatten()]
    flat = 512 * _halved(h, 5) * _halved(w, 5)
    head = [nn.Linear(flat, 512), nn.ReLU(), nn.Dropout(0.5), nn.Linear(512, 512), nn.ReLU(), nn.Dropout(0.5)]
    return nn.Sequential(*features, *head, nn.Linear(512, num_classes))


def small_cnn(num_classes: int, input_shape: Shape) -> nn.Module:
    """Two convolutions 3×3 of 32 filters, maximum pooling, 128 units, dropout 0.5: the MNIST network of Strauss et al.

    (arXiv:1709.03423.) Padded, so that it takes images of any size.
    """
    c, h, w = input_shape
    return nn.Sequential(
        nn.Conv2d(c, 32, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2, ceil_mode=True),
        nn.Flatten(),
        nn.Linear(32 * _halved(h, 1) * _halved(w, 1), 128),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(128, num_classes),
    )


def mlp(num_classes: int, input_shape: Shape) -> nn.Module:
    """Two hidden layers of 128 units with ReLU; for points in the plane and other small inputs."""
    c, h, w = input_shape
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(c * h * w, 128),
        nn.ReLU(),
        nn.Linear(128, 128),
        nn.ReLU(),
        nn.Linear(128, num_classes),
    )


def _vgg_blocks(channels: int, depths: tuple[int, ...], widths: tuple[int, ...]) -> Iterator[nn.Module]:
    for depth, width in zip(depths, widths, strict=True):
        for _ in range(depth):
            # The normalisation has a bias of its own.
            yield from (nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
            channels = width
        yield nn.MaxPool2d(2, ceil_mode=True)


def _pooled(size: int, times: int) -> int:
    """Side of an image after pooling 3×3 with stride 2, rounded up, so many times."""
    for _ in range(times):
        size = -(-(size - 3) // 2) + 1
    return size


def _halved(size: int, times: int) -> int:
    """Side of an image after halving it so many times, rounded up."""
    for _ in range(times):
        size = -(-size // 2)
    return size
