"""The networks of Wang, Kunin & Pyron, "Exploring Adversarial Input Spaces for CNN Defense".

Classifiers with dropout after every block, a convolutional autoencoder, and the pairs of classifier and generator of
the generative adversarial classifier (GAC). Every factory maps the number of classes and the input shape (C, H, W) to
an untrained network; the classifiers give logits, where the authors' have a log-softmax (which changes no probability).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor, nn

from pytest_robust.models.convnets import Shape

#: Of every dropout layer of the classifiers (the authors' code), and of the autoencoder's (our choice: the same).
DROPOUT = 0.1
#: Filters after the autoencoder's layers (our choice; the paper names the kinds of layers alone).
AUTOENCODER_WIDTHS = (16, 32, 64)
#: Hidden units of the vanilla GAN's discriminator and generator, and filters of the DC-GAN's discriminator: assignment
#: 3 of Stanford's CS231n (2018), from which the paper takes its starter code.
DISCRIMINATOR_UNITS, GENERATOR_UNITS, DISCRIMINATOR_FILTERS, DISCRIMINATOR_WIDEST = 256, 1024, (32, 64), 1024
#: Filters of the convolutional generator (our choice).
GENERATOR_FILTERS = 32
#: Slope of the leaky ReLU, as in that assignment.
SLOPE = 0.01


def exploring_mnist(num_classes: int, input_shape: Shape) -> nn.Module:
    """The authors' MNIST network: 3×3 convolutions of 10, 10, 20, 20 filters without padding, 50 units.

    For images of 16×16 and more.
    """
    return _blocks(num_classes, input_shape, (10, 20), padding=0)


def exploring_digits(num_classes: int, input_shape: Shape) -> nn.Module:
    """`exploring_mnist` for 8×8 images: padded, as four convolutions without padding leave nothing of them."""
    return _blocks(num_classes, input_shape, (10, 20), padding=1)


def exploring_cifar(num_classes: int, input_shape: Shape) -> nn.Module:
    """The authors' CIFAR-10 network: padded 3×3 convolutions of 20, 20, 40, 40, 20, 20 filters, 50 units."""
    return _blocks(num_classes, input_shape, (20, 40, 20), padding=1)


def _blocks(num_classes: int, input_shape: Shape, widths: Sequence[int], padding: int) -> nn.Module:
    """Pairs of convolutions, a ReLU after the second one only, pooling 2×2, dropout; then 50 units and the classes."""
    channels, h, w = input_shape
    layers: list[nn.Module] = []
    for width in widths:
        pair = nn.Conv2d(channels, width, 3, padding=padding), nn.Conv2d(width, width, 3, padding=padding)
        layers += [*pair, nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(DROPOUT)]
        channels, h, w = width, (h - 4 + 4 * padding) // 2, (w - 4 + 4 * padding) // 2
    units = [nn.Linear(channels * h * w, 50), nn.ReLU(), nn.Dropout(DROPOUT)]
    return nn.Sequential(*layers, nn.Flatten(), *units, nn.Linear(50, num_classes))


def exploring_autoencoder(num_classes: int, input_shape: Shape) -> nn.Module:  # noqa: ARG001 - a factory's signature
    """A convolutional autoencoder from images to images of the same shape, in [0, 1], dropout after each hidden layer.

    Down by convolutions, up by transposed ones, batch normalisation and ReLU (section 3.2).
    """
    c, h, w = input_shape
    narrow, middle, wide = AUTOENCODER_WIDTHS
    return nn.Sequential(
        *_hidden(nn.Conv2d(c, narrow, 3, padding=1, bias=False)),
        *_hidden(nn.Conv2d(narrow, middle, 3, stride=2, padding=1, bias=False)),
        *_hidden(nn.Conv2d(middle, wide, 3, stride=2, padding=1, bias=False)),
        *_hidden(nn.ConvTranspose2d(wide, middle, 4, stride=2, padding=1, bias=False)),
        *_hidden(nn.ConvTranspose2d(middle, narrow, 4, stride=2, padding=1, bias=False)),
        nn.ConvTranspose2d(narrow, c, 3, padding=1),
        Crop(h, w),
        nn.Sigmoid(),
    )


def _hidden(layer: nn.Conv2d | nn.ConvTranspose2d) -> Iterator[nn.Module]:
    yield from (layer, nn.BatchNorm2d(layer.out_channels), nn.ReLU(), nn.Dropout(DROPOUT))


class Crop(nn.Module):
    """The upper left H×W pixels: what was rounded up on the way down comes off again.

    Args:
        height, width: H and W.
    """

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.height, self.width = height, width

    def forward(self, x: Tensor) -> Tensor:
        """Images of shape (N, C, height, width)."""
        return x[..., : self.height, : self.width]


def gac_mlp_classifier(num_classes: int, input_shape: Shape) -> nn.Module:
    """The classifier of the vanilla GAC: an MLP, the discriminator of the assignment with an output a class."""
    c, h, w = input_shape
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(c * h * w, DISCRIMINATOR_UNITS),
        nn.LeakyReLU(SLOPE),
        nn.Linear(DISCRIMINATOR_UNITS, DISCRIMINATOR_UNITS),
        nn.LeakyReLU(SLOPE),
        nn.Linear(DISCRIMINATOR_UNITS, num_classes),
    )


def gac_conv_classifier(num_classes: int, input_shape: Shape) -> nn.Module:
    """The classifier of the DC-GAC: two 5×5 convolutions, each pooled, and a hidden layer.

    The discriminator of the assignment, padded so that it takes 8×8 images as well; there the hidden layer is as wide
    as what comes in, here 1,024 at most, which is what it is for MNIST in the assignment.
    """
    c, h, w = input_shape
    first, second = DISCRIMINATOR_FILTERS
    flat = second * (h // 4) * (w // 4)
    hidden = min(flat, DISCRIMINATOR_WIDEST)
    return nn.Sequential(
        nn.Conv2d(c, first, 5, padding=2),
        nn.LeakyReLU(SLOPE),
        nn.MaxPool2d(2),
        nn.Conv2d(first, second, 5, padding=2),
        nn.LeakyReLU(SLOPE),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(flat, hidden),
        nn.LeakyReLU(SLOPE),
        nn.Linear(hidden, num_classes),
    )


def gac_mlp(num_classes: int, input_shape: Shape) -> nn.Module:
    """`gac_mlp_classifier` and the generator that it is trained against."""
    classifier = gac_mlp_classifier(num_classes, input_shape)
    pixels = input_shape[0] * input_shape[1] * input_shape[2]
    last = nn.Linear(GENERATOR_UNITS, pixels)
    residual = nn.Sequential(
        nn.Flatten(),
        nn.Linear(pixels, GENERATOR_UNITS),
        nn.ReLU(),
        nn.Linear(GENERATOR_UNITS, GENERATOR_UNITS),
        nn.ReLU(),
        last,
        nn.Tanh(),
        nn.Unflatten(1, input_shape),
    )
    return GenerativeAdversarial(classifier, Generator(residual, last))


def gac_conv(num_classes: int, input_shape: Shape) -> nn.Module:
    """`gac_conv_classifier` and the generator that it is trained against."""
    classifier = gac_conv_classifier(num_classes, input_shape)
    (c, h, w), width = input_shape, GENERATOR_FILTERS
    last = nn.ConvTranspose2d(width, c, 4, stride=2, padding=1)
    residual = nn.Sequential(
        nn.Conv2d(c, width, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.Conv2d(width, width, 3, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        last,
        Crop(h, w),
        nn.Tanh(),
    )
    return GenerativeAdversarial(classifier, Generator(residual, last))


class Generator(nn.Module):
    """G(x) = x + r(x), a "ResNet style identity block" (section 3.3).

    Args:
        residual: r, from images to images of the same shape.
        last: the last layer of r with weights. It starts at zero, so that G starts as the identity (our choice).
    """

    def __init__(self, residual: nn.Module, last: nn.Linear | nn.ConvTranspose2d) -> None:
        super().__init__()
        self.residual = residual
        nn.init.zeros_(last.weight)
        if last.bias is not None:
            nn.init.zeros_(last.bias)

    def forward(self, x: Tensor) -> Tensor:
        """G(x), of the shape of `x`."""
        generated: Tensor = x + self.residual(x)
        return generated


class GenerativeAdversarial(nn.Module):
    """A classifier C and the generator G that it is trained against, as one network whose forward pass is C alone.

    C is made first by the factories, so that it starts from the weights that it would have without G.

    Args:
        classifier: C, from images to logits.
        generator: G, from images to images; the loss asks for it, nothing else does.
    """

    def __init__(self, classifier: nn.Module, generator: nn.Module) -> None:
        super().__init__()
        # The classifier is registered last: the last linear layer is where penultimate features are taken.
        self.generator = generator
        self.classifier = classifier

    def forward(self, x: Tensor) -> Tensor:
        """C(x): logits, float of shape (N, num_classes)."""
        logits: Tensor = self.classifier(x)
        return logits
