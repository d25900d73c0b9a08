"""Forward passes with dropout on whose masks are a function of the seed and of the image, and of nothing else.

Dropout that draws from a global generator gives an image another answer in every batch and in every run. Here every
dropout layer has a bank of seeded masks, and a pass takes from each bank the mask that the image's own bytes choose.
The network stays in eval mode: batch normalisation uses its running statistics.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from pytest_robust.errors import ModelError
from pytest_robust.models.classifier import Classifier

#: Masks in the bank of each layer: with three layers 256³ combinations, of which an image meets one in each pass.
BANK = 256
#: Numbers of the widest masked layer that exist at one time; 8 MB, which two cores' caches nearly hold.
BLOCK = 2**21
#: Of the odd factors that hash an image; no part of a defense's seed, so that keys are keys of the image alone.
HASH_SEED = 20180611
#: SplitMix64's multipliers and its increment (Steele, Lea & Flood 2014), as signed numbers.
FIRST, SECOND, GOLDEN = (n - 2**64 for n in (0xBF58476D1CE4E5B9, 0x94D049BB133111EB, 0x9E3779B97F4A7C15))


def image_keys(x: Tensor) -> Tensor:
    """A hash of each image's own bytes, int64 of shape (N,): equal images have equal keys, in every batch.

    Args:
        x: images, float32 of shape (N, C, H, W).
    """
    bits = (x.detach() + 0.0).contiguous().flatten(1).view(torch.int32).long()  # −0.0 + 0.0 is 0.0
    generator = torch.Generator().manual_seed(HASH_SEED)
    factors = torch.randint(-(2**62), 2**62, (bits.shape[1],), generator=generator) * 2 + 1
    return _mixed((bits * factors.to(x.device)).sum(1))


def _mixed(value: Tensor) -> Tensor:
    """SplitMix64's finaliser: every bit of the result depends on every bit of `value`."""
    value = (value ^ _shifted(value, 30)) * FIRST
    value = (value ^ _shifted(value, 27)) * SECOND
    return value ^ _shifted(value, 31)


def _shifted(value: Tensor, by: int) -> Tensor:
    return (value >> by) & ((1 << (64 - by)) - 1)  # torch's own shift of an int64 drags the sign along


class MaskedNetwork(nn.Module):
    """A classifier whose dropout layers use given masks; everything else is in eval mode.

    Args:
        classifier: from images in [0, 1] to logits.
        masks: how many masks each layer has in its bank.
        seed: of the masks.
        within: the part of `classifier` whose dropout is on; all of it by default.

    Raises:
        ModelError: there is no dropout in it, or one of a kind that does not drop values to zero (alpha dropout).
    """

    def __init__(self, classifier: Classifier, masks: int, seed: int, within: nn.Module | None = None) -> None:
        super().__init__()
        self.masks, self.seed = masks, seed
        self.chain = nn.ModuleList(_chain(classifier))
        self._layers = _dropout_layers(within or classifier, classifier.name)
        shapes = self._probed(classifier)
        #: Values of the widest masked layer for one image.
        self.widest = max(math.prod(shape) for shape in shapes)
        generator = torch.Generator().manual_seed(seed)
        for number, (layer, shape) in enumerate(zip(self._layers, shapes, strict=True)):
            self.register_buffer(f"bank_{number}", _bank(layer, shape, masks, generator).to(classifier.device))
        self.eval().requires_grad_(False)

    @property
    def layers(self) -> int:
        """How many dropout layers are on."""
        return len(self._layers)

    def forward(self, x: Tensor, index: Tensor) -> Tensor:
        """Logits of every image under every choice of masks, float of shape (N, T, K); differentiable in `x`.

        Args:
            x: images in [0, 1], float32 of shape (N, C, H, W).
            index: int64 of shape (N, T, layers): which mask each of T passes takes from each layer's bank.
        """
        n, passes = index.shape[:2]
        flat, first = index.flatten(0, 1), self._first_masked
        for module in self.chain[:first]:  # what lies before the first dropout is the same in every pass
            x = module(x)
        x = x.repeat_interleave(passes, 0)
        with self._masked(flat):
            for module in self.chain[first:]:
                x = module(x)
        logits: Tensor = x.unflatten(0, (n, passes))
        return logits

    @property
    def _first_masked(self) -> int:
        held = [any(m is layer for m in part.modules() for layer in self._layers) for part in self.chain]
        return held.index(True)

    @contextmanager
    def _masked(self, index: Tensor) -> Iterator[None]:
        """Inside, every dropout layer multiplies by the chosen masks: in eval mode it does nothing of its own."""
        with ExitStack() as stack:
            for number, layer in enumerate(self._layers):
                mask = self.get_buffer(f"bank_{number}")[index[:, number]]
                handle = layer.register_forward_hook(lambda _m, _i, out, mask=mask: out * mask)
                stack.callback(handle.remove)
            yield

    def _probed(self, classifier: Classifier) -> list[tuple[int, ...]]:
        """Shape (C, …) of what each dropout layer gets, without the batch, from a pass of one image."""
        seen: dict[nn.Module, tuple[int, ...]] = {}

        def note(layer: nn.Module, _: Any, out: Tensor) -> None:
            seen[layer] = tuple(out.shape[1:])

        with ExitStack() as stack, torch.no_grad():
            for layer in self._layers:
                stack.callback(layer.register_forward_hook(note).remove)
            x = torch.zeros(1, *classifier.input_shape, device=classifier.device)
            for module in self.chain.eval():
                x = module(x)
        self._layers = [layer for layer in self._layers if layer in seen]
        return [seen[layer] for layer in self._layers]


class KeyedPasses(nn.Module):
    """Several passes of every image, each with the masks that the image's own bytes choose.

    Args:
        classifier, seed, within: as in `MaskedNetwork`.
        passes: T, how many.
    """

    def __init__(self, classifier: Classifier, passes: int, seed: int, within: nn.Module | None = None) -> None:
        super().__init__()
        self.passes = passes
        self.network = MaskedNetwork(classifier, BANK, seed, within)

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """Logits, float of shape (N, T, K), in blocks of images, so that memory does not grow with N · T.

        Args:
            x: images in [0, 1], float32 of shape (N, C, H, W).
        """
        images = max(1, BLOCK // (self.passes * self.network.widest))
        index = self._index(image_keys(x))
        parts = [self.network(*part) for part in zip(x.split(images), index.split(images), strict=True)]
        return torch.cat(parts)

    def _index(self, keys: Tensor) -> Tensor:
        """Which masks each image takes, int64 of shape (N, T, layers)."""
        draws = torch.arange(1, self.passes * self.network.layers + 1, device=keys.device)
        mixed = _mixed(keys[:, None] + draws * GOLDEN)
        return (mixed % BANK).view(len(keys), self.passes, self.network.layers)


class MeanOverMasks(nn.Module):
    """The mean of the probabilities over fixed draws of masks, the same for every image (Athalye et al. 2018: EOT).

    What an adaptive attacker differentiates, who knows the defense but not its masks: he draws his own.
    https://arxiv.org/abs/1802.00420

    Args:
        classifier, seed, within: as in `MaskedNetwork`.
        draws: over how many.
    """

    def __init__(self, classifier: Classifier, draws: int, seed: int, within: nn.Module | None = None) -> None:
        super().__init__()
        self.draws = draws
        self.network = MaskedNetwork(classifier, draws, seed, within)

    def forward(self, x: Tensor) -> Tensor:
        """Logits, float of shape (N, K), whose softmax is the mean of the draws' softmaxes."""
        draw = torch.arange(self.draws, device=x.device)[None, :, None]
        logits: Tensor = self.network(x, draw.expand(len(x), -1, self.network.layers))
        return logits.log_softmax(2).logsumexp(1) - math.log(self.draws)


class Normalised(nn.Module):
    """The normalisation of a classifier, as the first module of its chain.

    Args:
        mean, std: as in `Classifier`.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)

    def forward(self, x: Tensor) -> Tensor:
        """Images minus mean, by std."""
        return (x - self.mean) / self.std


def _chain(module: nn.Module) -> Iterator[nn.Module]:
    """Modules that give the same as `module`, one after the other; what is no plain chain stays whole."""
    if isinstance(module, Classifier):
        yield Normalised(module.mean, module.std)
        yield from _chain(module.network)
    elif type(module) is nn.Sequential:  # a subclass may have a forward pass of its own
        for child in module:
            yield from _chain(child)
    else:
        yield module


def _dropout_layers(module: nn.Module, name: str) -> list[nn.Module]:
    layers: list[nn.Module] = [m for m in module.modules() if isinstance(m, nn.modules.dropout._DropoutNd)]
    strange = {type(m).__name__ for m in layers if "Alpha" in type(m).__name__}
    if not layers or strange:
        what = f"has {', '.join(sorted(strange))}, which does not drop values to zero" if strange else "has no dropout"
        raise ModelError(f"{name} {what}: passes with dropout on need an architecture with nn.Dropout layers.")
    return layers


def _bank(layer: nn.Module, shape: tuple[int, ...], masks: int, generator: torch.Generator) -> Tensor:
    """Masks, float32 of shape (masks, C, …): 0, or 1 / (1 − p) so that the mean stays what it was."""
    rate = float(layer.p)  # type: ignore[arg-type]
    # Dropout1d, 2d and 3d drop whole channels.
    drawn = shape if isinstance(layer, nn.Dropout) else (shape[0], *[1] * (len(shape) - 1))
    kept = torch.rand(masks, *drawn, generator=generator) >= rate
    return kept.float() / (1 - rate) if rate < 1 else kept.float()
