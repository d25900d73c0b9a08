"""The property: a model's answer on the perturbed image is its answer on the clean one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis
import torch
from hypothesis.errors import InvalidArgument
from torch import Tensor, nn

from pytest_robust.errors import DataError, InvarianceError, ModelError, SettingsError
from pytest_robust.strategies.pair import current_test, save_pair
from pytest_robust.strategies.perturbation import Perturbation, batch_of, distances


def assert_invariant(
    model: nn.Module | Callable[[Tensor], Any],
    image: Tensor,
    perturbation: Perturbation,
    *,
    label: int | Tensor | None = None,
    directory: Path | str | None = None,
) -> None:
    """Assert that `model` gives the perturbed image the same class as the clean one.

    In a test of Hypothesis it also tells ``hypothesis.target`` how near the answer is to changing, so that later
    examples come nearer. It is a search for failures that are easy to find, and no attack: passing proves nothing.

    Args:
        model: a module in eval mode, or any callable, from images in [0, 1], float32 of shape (1, C, H, W), to logits
            of shape (1, K) with K of 2 or more.
        image: float32 of shape (C, H, W) or (1, C, H, W), in [0, 1].
        perturbation: what is done to it.
        label: the class that both images must get; by default that of the clean image.
        directory: where a failing pair of images is saved, one for each test; by default the pytest plugin saves it,
            under ``--robust-report`` or in pytest's cache folder.

    Raises:
        InvarianceError: an AssertionError: the class is another one.
        DataError: no such image. ModelError: no such model or logits. SettingsError: no perturbation, or a label that
            is no class.
    """
    __tracebackhide__ = True
    clean = _one_image(image)
    if not isinstance(perturbation, Perturbation):
        raise SettingsError(
            f"{perturbation!r} is no Perturbation: draw one, as by pytest_robust.strategies.linf(0.03)."
        )
    perturbed = perturbation.apply(clean)
    before, after = _logits(model, clean), _logits(model, perturbed)
    expected = int(before.argmax()) if label is None else _class(label, len(before))
    wrong = _margin(after, expected)
    _aim(-wrong)
    found = int(after.argmax())
    if found == expected:
        return
    text = _message(before, after, label is not None, expected, perturbation, distances(clean, perturbed))
    error = InvarianceError(text, clean[0], perturbed[0])
    if directory is not None:
        error.saved = save_pair(Path(directory), current_test() or type(perturbation).__name__, *error.images)
        error.add_note(f"images: {error.saved}")
    raise error


def _one_image(image: Tensor) -> Tensor:
    batch = batch_of(image, "assert_invariant")
    if len(batch) != 1:
        raise DataError(f"assert_invariant takes one image at a time, not {len(batch)}: draw its index by st.integers.")
    return batch


def _class(label: int | Tensor, classes: int) -> int:
    value = int(label)
    if not 0 <= value < classes:
        raise SettingsError(f"the label {value} is none of the model's {classes} classes: count them from zero.")
    return value


@torch.no_grad()
def _logits(model: nn.Module | Callable[[Tensor], Any], x: Tensor) -> Tensor:
    """Logits of one image, float64 of shape (K,), on the CPU."""
    name = type(model).__name__
    if not callable(model):
        raise ModelError(f"{model!r} is no model: give an nn.Module or a function from images to logits.")
    if isinstance(model, nn.Module):
        if model.training:
            raise ModelError(
                f"the model {name} is in train mode, in which answers are random: call model.eval() first."
            )
        x = x.to(next((t.device for t in (*model.parameters(), *model.buffers())), x.device))
    try:
        logits = torch.as_tensor(model(x)).detach().double().cpu()
    except (RuntimeError, TypeError, ValueError) as error:
        raise ModelError(f"{name} cannot take an image of shape {tuple(x.shape)}: {_first_line(error)}.") from error
    if logits.ndim != 2 or len(logits) != 1 or logits.shape[1] < 2:
        raise ModelError(f"{name} gives outputs of shape {tuple(logits.shape)} for one image, but (1, K) is expected.")
    if not bool(torch.isfinite(logits).all()):
        raise ModelError(f"{name} gives NaN or infinite logits: check its weights and inputs.")
    return logits[0]


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__).rstrip(".")


def _margin(logits: Tensor, label: int) -> float:
    """The label's logit minus the largest other one."""
    others = logits.clone()
    others[label] = -torch.inf
    return float(logits[label] - others.max())


def _aim(score: float) -> None:
    """Let Hypothesis climb towards a larger `score`, if a test of it is running."""
    if not hypothesis.currently_in_test_context():
        return
    try:
        hypothesis.target(score, label="assert_invariant: logit gained on the answer")
    except InvalidArgument:  # it takes one score per example; the first of several assertions gets it
        return


def _message(
    before: Tensor, after: Tensor, given: bool, expected: int, perturbation: Perturbation, size: dict[str, float]
) -> str:
    was, found = int(before.argmax()), int(after.argmax())
    if was != expected:
        head = f"the label is {expected}, but already the clean image is answered with {was}"
    else:
        head = f"the answer changes from {was}{' (the label)' * given} to {found}"
    margins = f"margin {_margin(before, was):.4g} on the clean image, {_margin(after, found):.4g} on the perturbed one"
    sizes = f"L∞ {size['linf']:.4g}, L2 {size['l2']:.4g}, L0 {size['l0']:.0f}"
    return f"{head} ({margins}).\nperturbation: {perturbation!r}\nits size on this image: {sizes}"
