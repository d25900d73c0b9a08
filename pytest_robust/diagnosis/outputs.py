"""Checks on what the model gives: logits, the same ones each time, whatever the batch, and by a plain forward pass."""

from __future__ import annotations

import sys
from contextlib import suppress
from types import FrameType
from typing import Any

import torch
from torch import Tensor

from pytest_robust.diagnosis.check import Finding, NotApplicable
from pytest_robust.diagnosis.gradients import input_gradient, margin_loss
from pytest_robust.diagnosis.subject import Subject
from pytest_robust.errors import ModelError
from pytest_robust.models.classifier import check_logits, look_like_probabilities

#: Images that pass through the model here, in one batch; fewer where they are large.
IMAGES = 64
#: Forward passes that are compared, and by how much normalised logits may differ (AutoAttack's check_randomized).
PASSES, MOST_CHANGE = 5, 1e-4
#: How much a logit may change with its batch, relative to the largest one where that is above 1 (ours).
MOST_BATCH_CHANGE = 1e-3
#: Images that pass alone.
ALONE = 16


def logits_not_probs(subject: Subject) -> Finding:
    """Whether outputs are finite logits, one per class, and no probabilities."""
    x = subject.split.x[: min(IMAGES, subject.batch)]
    with subject.undisturbed():
        outputs = subject.outputs(x).float()
    try:
        check_logits(outputs, len(x), subject.surface.num_classes, subject.surface.name)
    except ModelError as error:
        return Finding(True, f"{str(error)[0].upper()}{str(error)[1:]}", len(x))
    low, high = (float(end) for end in torch.aminmax(outputs))
    if look_like_probabilities(low, high, len(x)):
        sentence = (
            f"All outputs for {len(x)} images lie in [0, 1], from {low:.3g} to {high:.3g}: they look like "
            "probabilities (a sigmoid?), behind which gradients vanish and attacks look weak; give logits."
        )
        return Finding(True, sentence, len(x))
    return Finding(False, f"Outputs are logits on {len(x)} images.", len(x))


def deterministic_forward(subject: Subject) -> Finding:
    """Whether passes of the same batch give the same outputs."""
    x = subject.split.x[: min(IMAGES, subject.batch)]
    with subject.undisturbed():
        passes = torch.stack([subject.outputs(x).float() for _ in range(PASSES)])
    directions = passes / passes.norm(dim=2, keepdim=True).clamp_min(1e-10)
    change = float((directions[1:] - directions[:1]).norm(dim=2).max())
    labels = passes.argmax(2)
    changed = int((labels != labels[0]).any(0).sum())
    figures = {"largest_change": change, "labels_changed": float(changed)}
    if changed == 0 and change <= MOST_CHANGE:
        return Finding(False, f"{PASSES} passes of {len(x)} images agree.", len(x), figures)
    sentence = (
        f"{PASSES} passes of the same {len(x)} images differ (normalised logits by up to {change:.2g}, the label of "
        f"{changed} images): the model is random, so average gradients over its randomness (EOT) and judge every image "
        "several times."
    )
    return Finding(True, sentence, len(x), figures)


def batch_invariance(subject: Subject) -> Finding:
    """Whether an image's logits are the same alone, in a batch, and in a shuffled batch."""
    x = subject.split.x[: min(IMAGES, subject.batch)]
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(subject.seed))
    with subject.undisturbed():
        whole, again = subject.outputs(x), subject.outputs(x)
        shuffled = torch.empty_like(whole).index_copy(0, order, subject.outputs(x[order]))
        alone = torch.cat([subject.outputs(image[None]) for image in x[:ALONE]])
    scale = max(1.0, float(whole.abs().max()))
    noise = float((whole - again).abs().max()) / scale
    change = max(float((whole - shuffled).abs().max()), float((whole[: len(alone)] - alone).abs().max())) / scale
    figures = {"largest_change": change, "between_equal_passes": noise}
    if change <= MOST_BATCH_CHANGE:
        return Finding(False, f"Logits of {len(x)} images do not depend on the batch.", len(x), figures)
    if noise > MOST_BATCH_CHANGE:
        return Finding(False, f"Passes of the same batch of {len(x)} differ already by {noise:.2g}.", len(x), figures)
    sentence = (
        f"Logits of {len(x)} images change by up to {change:.2g} of the largest with the batch they are in: something "
        "in the model looks at the whole batch (batch normalisation without running statistics, say), so figures "
        "depend on how the images are cut."
    )
    return Finding(True, sentence, len(x), figures)


def mode_restored(subject: Subject) -> Finding:
    """Whether the model is in eval mode, and whether answers and gradients leave its state as it was."""
    model, split = subject.surface, subject.split.subset(range(min(4, len(subject.split))))
    training = [name or "the model" for name, module in model.named_modules() if module.training]
    if training:
        sentence = (
            f"{len(training)} modules are in training mode ({training[0]} first): dropout and batch statistics make "
            "answers random and depend on the batch; call eval() before evaluating."
        )
        return Finding(True, sentence, len(split), {"in_training_mode": float(len(training))})
    before = _state(model)
    with subject.undisturbed():
        subject.outputs(split.x)
        with suppress(NotApplicable):  # `gradient_available` tells of a model without gradients
            input_gradient(subject, split.x, split.y, margin_loss)
    changed = [name for name, value in _state(model).items() if not torch.equal(value, before[name])]
    if changed:
        sentence = (
            f"A forward and a backward pass of {len(split)} images in eval mode changed {changed[0]}"
            f"{f' and {len(changed) - 1} others' if len(changed) > 1 else ''}: the model remembers what it was asked, "
            "so attacking it changes what is evaluated afterwards."
        )
        return Finding(True, sentence, len(split), {"changed": float(len(changed))})
    return Finding(False, "The model is in eval mode, and passes leave its state as it was.", len(split))


def _state(model: torch.nn.Module) -> dict[str, Tensor]:
    state = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    gradients = {f"{name}.grad": p.grad for name, p in model.named_parameters() if p.grad is not None}
    return {name: value.detach().clone() for name, value in {**state, **gradients}.items()}


def no_inference_optimisation(subject: Subject) -> Finding:
    """Whether the forward pass itself asks for gradients."""
    x = subject.split.x[:2]
    watched = {torch.autograd.grad.__code__, torch.autograd.backward.__code__}
    calls = 0

    def watch(frame: FrameType, event: str, _: Any) -> None:
        nonlocal calls
        calls += event == "call" and frame.f_code in watched

    before = sys.getprofile()
    with subject.undisturbed():
        sys.setprofile(watch)
        try:
            subject.outputs(x)
        finally:
            sys.setprofile(before)
    figures = {"gradient_calls": float(calls)}
    if calls == 0:
        return Finding(False, "The forward pass asks for no gradient.", len(x), figures)
    sentence = (
        f"A forward pass of {len(x)} images asked for {calls} gradients: the model optimises at inference, which a "
        "gradient attack does not see through; attack it with a surface of its own (BPDA), or gradient-free."
    )
    return Finding(True, sentence, len(x), figures)
