"""Any model as a `Classifier`: a module, a function, a file or a factory, checked by one pass over a few images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pytest_robust.attacks.isolation import seeded
from pytest_robust.data.split import Split
from pytest_robust.errors import DataError, ModelError, RobustError, SettingsError
from pytest_robust.gate.model_files import FromFile, load_model_file
from pytest_robust.gate.named import is_named, made_by
from pytest_robust.models.classifier import Classifier, check_logits
from pytest_robust.models.threads import suitable_threads
from pytest_robust.store.blame import is_about_shapes, told
from pytest_robust.store.fingerprint import fingerprint

#: What a mean or a standard deviation may be: one number, or one per channel.
Channels = float | Sequence[float] | Tensor
#: Images of the first pass: it finds the number of classes, and what is wrong with the model.
FIRST = 4
#: Their answers are compared to one part in so many of the largest.
DIGITS = 1e4
FLOAT32 = str(torch.float32)
FORMS = "an nn.Module, a function from [0, 1] images to logits, a Classifier, a file, or 'module:factory'"


class Answering(Classifier):
    """A user's model, whose answers count in its fingerprint beside its weights, structure and code.

    These do not tell all that a function reads from elsewhere (a file, a service). A model without weights counts by
    its logits on all images; one with weights by those on the first ones, which are known anyway, rounded: sums depend
    on the number of threads.
    """

    answers: str = ""


class Called(nn.Module):
    """A function from [0, 1] images to logits, or a module without weights, as a module.

    Args:
        function: takes float32 (N, C, H, W), gives (N, K).
    """

    def __init__(self, function: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        """The function's logits; without a graph where it gives none."""
        return torch.as_tensor(self.function(x))


class Scripted(nn.Module):
    """A TorchScript module in memory, with its code in its fingerprint: its modules do not carry it.

    Args:
        network: a ``torch.jit.ScriptModule``.
    """

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network, self.code = network, str(network.inlined_graph)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of images."""
        logits: Tensor = self.network(x)
        return logits


def load_model(model: object, root: Path, device: torch.device) -> Any:
    """What a string or a path names, loaded onto `device`; any other model as it is.

    Raises:
        ModelError: there is no such file or factory, or it fails.
    """
    if isinstance(model, str) and is_named(model) and not (root / model).exists():
        made = made_by(model, "model", root, ModelError)
        if isinstance(made, (str, Path)):
            return load_model(made, root, device)
        return made.to(device) if isinstance(made, nn.Module) else made
    if isinstance(model, (str, Path)):
        path = Path(model).expanduser()
        return load_model_file(path if path.is_absolute() else root / path, device)
    return model


def classifier_of(
    model: Any, split: Split, device: torch.device, *, name: str = "", mean: Channels = 0.0, std: Channels = 1.0
) -> Classifier:
    """A model as a `Classifier` of the images in `split`, in eval mode.

    Args:
        model: a loaded model (`load_model`). A module stays on the device where its weights are.
        split: its first images are shown to the model, which gives the number of classes.
        device: of what has no weights of its own.
        name: for people; the model's own by default.
        mean, std: what the images are normalised with before the model sees them; one number, or one per channel.

    Raises:
        ModelError: it is no model, does not take the images, or does not give logits.
        SettingsError: `mean` and `std` do not fit the images, or a `Classifier` has its own.
        DataError: the labels are no classes of the model.
    """
    if isinstance(model, Classifier):
        if _given(mean) != 0.0 or _given(std) != 1.0:
            raise SettingsError(
                f"{model.name!r} is a Classifier with its normalisation inside: leave mean and std out."
            )
        _first_pass(model, split, model.name)
        check_classes(split, model.num_classes, model.name)
        return model
    network = _module(model)
    title = name or _name(model)
    centre, spread = _per_channel(mean, "mean", split), _per_channel(std, "std", split)
    failure: ModelError | None = None
    for place in _places(network, device):
        wrapped = Answering(network, num_classes=1, input_shape=split.input_shape, mean=centre, std=spread, name=title)
        try:
            first = _first_pass(wrapped.to(place) if _weightless(network) else _beside(wrapped, place), split, title)
        except ModelError as error:
            failure = failure or error
            continue
        wrapped.num_classes = first.shape[1]
        check_classes(split, wrapped.num_classes, title)
        wrapped.answers = _all_answers(wrapped, split) if isinstance(network, Called) else _rounded(first)
        return wrapped
    assert failure is not None
    raise failure


def check_classes(split: Split, num_classes: int, name: str) -> None:
    """Raise DataError unless the labels of `split` are among the model's classes, counted from zero."""
    low, high = int(split.y.min()), int(split.y.max())
    if high < num_classes:
        return
    if low == 1 and high == num_classes:
        raise DataError(
            f"{split.name}: the labels run from 1 to {high}, and {name} gives {num_classes} logits: count classes from "
            "zero (subtract 1 from every label)."
        )
    raise DataError(
        f"{split.name}: the labels run from {low} to {high}, but {name} gives {num_classes} logits, for the classes "
        f"0 to {num_classes - 1}: give a model of these classes, or images that have them."
    )


def _module(model: Any) -> nn.Module:
    if isinstance(model, torch.jit.ScriptModule):
        return Scripted(model)
    if isinstance(model, nn.Module) and (isinstance(model, FromFile) or not _weightless(model)):
        return model
    if isinstance(model, type) and issubclass(model, nn.Module):
        raise ModelError(f"{model!r} is no model but a class: call it, {model.__name__}(), or give 'module:factory'.")
    if isinstance(model, type) or not callable(model):
        raise ModelError(f"{model!r} is no model: give {FORMS}.")
    return Called(model)


def _name(model: Any) -> str:
    name = getattr(model, "__qualname__", type(model).__name__)
    return "a lambda" if "<lambda>" in name else str(name)


def _weightless(network: nn.Module) -> bool:
    return next(network.parameters(), None) is None and next(network.buffers(), None) is None


def _places(network: nn.Module, device: torch.device) -> list[torch.device]:
    """Where a model may want its images: where its weights are; a function does not say."""
    for tensor in (*network.parameters(), *network.buffers()):
        return [tensor.device]
    cpu = torch.device("cpu")
    return [cpu] if isinstance(network, FromFile) else list(dict.fromkeys([device, cpu]))


def _beside(wrapped: Answering, device: torch.device) -> Answering:
    """The normalisation where the weights are: a user's module is not moved."""
    wrapped.mean, wrapped.std = wrapped.mean.to(device), wrapped.std.to(device)
    return wrapped


def _first_pass(classifier: Classifier, split: Split, name: str) -> Tensor:
    """Logits of the first images, checked: float of shape (n, K)."""
    few = split.x[:FIRST].to(classifier.device)
    try:
        with torch.no_grad(), suitable_threads(split.input_shape, classifier.device), seeded(0, classifier.device):
            logits = classifier(few)
    except RobustError:
        raise
    except Exception as error:
        others = sorted({str(p.dtype) for p in classifier.network.parameters() if p.is_floating_point()} - {FLOAT32})
        suited = "; give it the images it was made for" if is_about_shapes(error) else ""
        hint = f"; its weights are {others[0]}: call .float() on it" if others else suited
        raise ModelError(
            f"the model {name} fails on images of shape {split.input_shape} (C, H, W) from {split.name}: "
            f"{told(error)}{hint}."
        ) from error
    if not isinstance(logits, Tensor) or logits.ndim != 2 or not logits.is_floating_point():
        got = f"{logits.dtype} of shape {tuple(logits.shape)}" if isinstance(logits, Tensor) else type(logits).__name__
        raise ModelError(
            f"the model {name} gives {got} for {len(few)} images, but a float tensor of shape ({len(few)}, classes) is "
            "expected: one logit per class."
        )
    if logits.shape[1] < 2:
        raise ModelError(f"the model {name} gives a single output for an image: give one logit per class, also of two.")
    check_logits(logits, len(few), int(logits.shape[1]), f"the model {name}")
    return logits


def _all_answers(wrapped: Classifier, split: Split) -> str:
    with suitable_threads(split.input_shape, wrapped.device), seeded(0, wrapped.device):
        return fingerprint([split.fingerprint, wrapped.logits_of(split.x)])


def _rounded(logits: Tensor) -> str:
    values = logits.detach().cpu().double()
    largest = values.abs().amax().clamp(min=1e-30)
    return fingerprint([f"{float(largest):.4g}", (values / largest * DIGITS).round().long()])


def _given(value: Channels) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None


def _per_channel(value: Channels, key: str, split: Split) -> Tensor:
    """A number, or one per channel, in the shape in which it is taken from images."""
    try:
        tensor = torch.as_tensor(value, dtype=torch.float32).detach().cpu()
    except (TypeError, ValueError, RuntimeError) as error:
        raise SettingsError(f"{key}={value!r} is no number, nor one per channel.") from error
    channels = split.input_shape[0]
    if tensor.ndim == 1 and len(tensor) in (1, channels):
        tensor = tensor.reshape(-1, 1, 1)
    elif tensor.ndim and tensor.shape not in ((channels, 1, 1), split.input_shape):
        raise SettingsError(
            f"{key} has shape {tuple(tensor.shape)}, but {split.name} has images of shape {split.input_shape} "
            f"(C, H, W): give one number, or {channels}, one per channel."
        )
    if not bool(torch.isfinite(tensor).all()) or (key == "std" and not bool((tensor > 0).all())):
        raise SettingsError(
            f"{key}={value!r} cannot be: {'a std is positive' if key == 'std' else 'it is not finite'}."
        )
    return tensor
