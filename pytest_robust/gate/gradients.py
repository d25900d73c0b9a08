"""Do a model's gradients lead anywhere? Two quick looks, before a figure under a gradient attack is believed."""

from __future__ import annotations

import torch
from torch import Tensor

from pytest_robust.attacks.attack import Attack
from pytest_robust.attacks.batching import comfortable_batch
from pytest_robust.attacks.catalogue import PGD
from pytest_robust.attacks.checks import climbed
from pytest_robust.attacks.crafting import attack_key, craft
from pytest_robust.attacks.isolation import frozen, seeded
from pytest_robust.data.split import Split
from pytest_robust.diagnosis.budgets import with_budget
from pytest_robust.diagnosis.gradients import MOST_DISAGREEING
from pytest_robust.errors import AttackError, ModelError
from pytest_robust.evaluation.rate import Rate
from pytest_robust.models.classifier import Classifier
from pytest_robust.models.threads import suitable_threads
from pytest_robust.store.artifacts import Artifact, ArtifactStore
from pytest_robust.store.fingerprint import file_fingerprint, fingerprint

#: The whole box is within reach, so that nothing withstands who follows the gradients (Carlini et al. 2019,
#: arXiv:1902.06705, section 5: "unbounded attack"). From the image itself: a random start in the whole box is noise, on
#: which nearly every model is wrong whatever its gradients are.
UNBOUNDED = with_budget(PGD.configured(num_random_init=0), 1.0)
#: Steps, and steps of a second try for what withstands the first (ours). Ten cross the box; nothing withstood forty on
#: 42 soundly trained networks (plain, undertrained, overfitted, with dropout, PGD-trained, of two and three classes,
#: rejecting) and 100 held-out training images of the digits each. On seven masked ones 5 to 100 of 100 did.
STEPS = (10, 40)
#: Another function's gradient leads to the far end of the box as well, where any answer may be wrong; near the image it
#: leads nowhere. A step large enough for a stand-in for the gradient of what rounds (BPDA) to be right, as it should,
#: and small beside usual budgets (ours). It raised the loss of all but 1 in 100 held-out training images of 24 soundly
#: trained networks (the 1 on a rejecting one, where larger steps end in the rejection); of masked ones' it left up to
#: 57.
STEP = 2 / 255
#: Correctly classified images that are looked at, as many as in a diagnosis; drawn at random, among twice as many.
IMAGES = 100
#: Apart from the run's seed, so that a model's gradients are judged alike in every run.
SEED = 10_000_003


def follows_gradients(attack: Attack) -> bool:
    """Whether a figure under `attack` rests on gradients that lead to whatever its budget holds.

    An attack without a budget says itself if it fails, by how few images it fools.
    """
    return attack.gradient_calls > 0 and attack.eps is not None


def gradient_signs(store: ArtifactStore, surface: Classifier, split: Split) -> tuple[str, ...]:
    """The signs that `surface` has gradients that lead nowhere, a sentence each; empty where there is none.

    Flagged where a single image withstands PGD without a budget, as in the check `unbounded_attack` of a diagnosis, and
    where a step along the gradient does not raise the loss of more images than its `gradient_agreement` allows.

    Args:
        store: keeps what was found: one run for all attacks on a model, and none where nothing changed.
        surface: what gradient attacks differentiate.
        split: clean images and true labels; on those that it classifies wrongly any attack succeeds.
    """

    def build() -> Artifact:
        drawn = split.sample(min(2 * IMAGES, len(split)), SEED)
        images = drawn.subset((surface.predict(drawn.x) == drawn.y).nonzero()[:IMAGES, 0])
        return Artifact({}, {"signs": [*_withstood(surface, images), *_does_not_rise(surface, images)]})

    key = fingerprint(["gradients", file_fingerprint(__file__), attack_key(UNBOUNDED, surface, split, SEED)])
    found: list[str] = store.get_or_build("gradients", key, build)[0].metadata["signs"]
    return tuple(found)


def _withstood(surface: Classifier, images: Split) -> tuple[str, ...]:
    """Whether any image withstands PGD without a budget."""
    try:
        withstood = _withstanding(surface, images)
    except (AttackError, ModelError) as error:
        return (f"PGD without a budget cannot run on the model ({str(error).rstrip('.')}): run diagnose",)
    if withstood == 0:
        return ()
    return (
        f"{withstood} of {len(images)} images withstand PGD without a budget, though it can reach every other image: "
        "the model's gradients lead nowhere (gradient masking), and attacks that follow them find little; run diagnose",
    )


def _withstanding(surface: Classifier, images: Split) -> int:
    """How many images no try fooled the surface on."""
    for steps in STEPS:
        if len(images) == 0:
            break
        made = craft(UNBOUNDED.configured(max_iter=steps), surface, images, seed=SEED)
        images = images.subset(torch.logical_not(made.success))
    return len(images)


def _does_not_rise(surface: Classifier, images: Split) -> tuple[str, ...]:
    """Whether a small step along the gradient fails to raise the loss of many images."""
    if len(images) == 0:
        return ()
    with (
        frozen(surface),
        seeded(SEED, surface.device),
        suitable_threads(surface.input_shape, surface.device),
    ):
        stays = Rate.of(~_rises(surface, images))
    if stays.lower <= MOST_DISAGREEING:
        return ()
    return (
        f"a step of {STEP * 255:.0f}/255 along the gradient does not raise the loss of {stays.k} of {stays.n} images: "
        "the gradient is another function's or shattered (gradient masking), and attacks that follow it find little; "
        "run diagnose",
    )


def _rises(surface: Classifier, images: Split) -> Tensor:
    """Bool of shape (N,): the loss that attacks climb is higher a step away."""
    size = comfortable_batch(surface.input_shape, surface.device)
    found = []
    for x, y in zip(images.x.split(size), images.y.split(size), strict=True):
        at, labels = x.to(surface.device).requires_grad_(), y.to(surface.device)
        with torch.enable_grad():
            here = climbed(surface, at, labels)
            (gradient,) = torch.autograd.grad(here.sum(), at)
        with torch.no_grad():
            there = climbed(surface, (at + STEP * gradient.sign()).clamp(0, 1), labels)
        found.append((there > here.detach()).cpu())
    return torch.cat(found)
