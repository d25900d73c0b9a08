"""The networks of the decision-mismatch paper (Monteiro et al.): two for each data set, of different structure.

Each maps normalised images (N, C, H, W) to logits (N, num_classes). CIFAR-10's VGG16 is `convnets.vgg16`. As the paper
says it and not as its code has it: the code drops channels after the second convolution and puts a ReLU on the MLP's
logits.
"""

from __future__ import annotations

from torch import nn

Shape = tuple[int, int, int]


def mismatch_cnn(num_classes: int, input_shape: Shape) -> nn.Module:
    """Convolutions 5×5 of 10 and 20 filters, unpadded and each pooled 2×2, 50 units, dropout 0.5.

    For images of 16×16 and more. At 28×28 the first linear layer has 320 inputs; the paper writes 350.
    """
    c, h, w = input_shape
    return nn.Sequential(
        *_block(c, 10, 5, 0),
        *_block(10, 20, 5, 0),
        nn.Flatten(),
        *_head(20 * _valid(h) * _valid(w), num_classes),
    )


def mismatch_cnn_digits(num_classes: int, input_shape: Shape) -> nn.Module:
    """`mismatch_cnn` for 8×8 images: kernels of 3×3, padded, as nothing is left after two of 5×5.

    For images of 4×4 and more.
    """
    c, h, w = input_shape
    return nn.Sequential(
        *_block(c, 10, 3, 1),
        *_block(10, 20, 3, 1),
        nn.Flatten(),
        *_head(20 * (h // 4) * (w // 4), num_classes),
    )


def mismatch_mlp(num_classes: int, input_shape: Shape) -> nn.Module:
    """Hidden layers of 320 and 50 units, dropout 0.5 after each; for images of any size."""
    c, h, w = input_shape
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(c * h * w, 320),
        nn.ReLU(),
        nn.Dropout(0.5),
        *_head(320, num_classes),
    )


def resnet50_cifar(num_classes: int, input_shape: Shape) -> nn.Module:
    """torchvision's ResNet-50 for 32×32 images: its stem is one convolution 3×3 of stride 1, without pooling.

    The usual change at this size (He et al. 2016, section 4.2, https://arxiv.org/abs/1512.03385); the paper names none.
    """
    # Here, because its import costs a second that the other networks need not pay.
    from torchvision.models import resnet50

    network: nn.Module = resnet50(weights=None, num_classes=num_classes)
    network.conv1 = nn.Conv2d(input_shape[0], 64, 3, padding=1, bias=False)
    network.maxpool = nn.Identity()
    return network


def _block(channels: int, filters: int, kernel: int, padding: int) -> list[nn.Module]:
    return [nn.Conv2d(channels, filters, kernel, padding=padding), nn.ReLU(), nn.MaxPool2d(2)]


def _head(features: int, num_classes: int) -> list[nn.Module]:
    return [nn.Linear(features, 50), nn.ReLU(), nn.Dropout(0.5), nn.Linear(50, num_classes)]


def _valid(size: int) -> int:
    """Side of an image after two unpadded convolutions 5×5, each pooled 2×2."""
    for _ in range(2):
        size = (size - 4) // 2
    return size
