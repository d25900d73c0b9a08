"""Checks on the images: the clean ones, the adversarial ones, and those that a detector's threshold was set on."""

from __future__ import annotations

import torch
from torch import Tensor

from pytest_robust.attacks.objectives import margin, rejection_counts_as
from pytest_robust.bench.evaluating import MOST_UNSTABLE
from pytest_robust.diagnosis.check import Finding, NotApplicable, Severity
from pytest_robust.diagnosis.subject import Subject
from pytest_robust.errors import AttackError, ModelError

#: Images all of whose values are below one grey level were divided by 255 twice.
GREY_LEVEL = 1 / 255
#: The median adversarial image must lie so far beyond the boundary, in logits (ours, as the field has none).
LEAST_MARGIN = 1e-4


def inputs_in_range(subject: Subject) -> Finding:
    """Whether the clean images use the range [0, 1], which a Split holds them to."""
    x = subject.split.x
    low, high = float(x.min()), float(x.max())
    figures = {"lowest": low, "highest": high}
    if high > GREY_LEVEL * (1 + 1e-6):
        return Finding(False, f"{len(x)} images run from {low:.3g} to {high:.3g}.", len(x), figures)
    sentence = (
        f"{len(x)} images run from {low:.3g} to {high:.3g}, less than one grey level of 255: they look divided by 255 "
        "twice, and ε is larger than everything in them."
    )
    return Finding(True, sentence, len(x), figures)


def adv_valid(subject: Subject) -> Finding:
    """Whether the adversarial images keep to the box and to ε; crafting itself refuses those that do not.

    Where there are none, because the attack cannot run or no image is left for it, other checks do not apply.
    """
    n = len(subject.split)
    try:
        n = len(subject.images)
        adversarial = subject.adversarial
    except NotApplicable as nothing:
        sentence = (
            f"{nothing} So there is nothing to attack or to look at: check that the images are normalised as in "
            "training, and that the labels count the model's classes."
        )
        return Finding(True, sentence, n)
    except (AttackError, ModelError) as error:
        return Finding(True, f"{str(error)[0].upper()}{str(error)[1:]}", n)
    largest = {norm: float(sizes.max()) for norm, sizes in adversarial.norms.items()}
    attack, norm = subject.attack, subject.attack.norm
    kept = f"; {norm} at most {largest[norm]:.4g}" if norm is not None else ""
    budget = f" of ε = {attack.eps:.4g}" if attack.eps is not None else ""
    sentence = f"{len(adversarial)} adversarial images are finite and in [0, 1]{kept}{budget}."
    return Finding(False, sentence, len(adversarial), largest)


def adv_margin_stable(subject: Subject) -> Finding:
    """Whether adversarial images are answered alike at another batch size, and lie clearly beyond the boundary."""
    adversarial = subject.adversarial
    n, unstable = len(adversarial), float(adversarial.unstable.float().mean())
    beyond = _median_margin(subject)
    figures = {"unstable": unstable, "median_margin": beyond}
    if unstable > MOST_UNSTABLE:
        sentence = (
            f"{unstable:.1%} of {n} adversarial images are answered otherwise at another batch size: they sit on the "
            "boundary, or the model is random; do not count them as successes."
        )
        # As `evaluating.checks`: claims on such a set are unreliable.
        return Finding(True, sentence, n, figures, Severity.ERROR)
    if beyond < LEAST_MARGIN:
        sentence = (
            f"The median of {int(adversarial.success.sum())} successful adversarial images lies {beyond:.1e} logits "
            "beyond the boundary: rounding decides about them; push them further before they are judged elsewhere."
        )
        return Finding(True, sentence, n, figures)
    return Finding(False, f"{n} adversarial images are answered alike at two batch sizes.", n, figures)


def _median_margin(subject: Subject) -> float:
    fooling = subject.adversarial.subset(subject.adversarial.success)
    if len(fooling) == 0:
        return float("inf")
    with subject.undisturbed():
        logits = subject.surface.logits_of(fooling.x)
    understood = rejection_counts_as(logits, fooling.y) if subject.surface.rejects else logits
    return float((-margin(understood, fooling.y)).median())


def detector_split_clean(subject: Subject) -> Finding:
    """Whether the images that a detector's threshold was set on are others than the ones it is evaluated on."""
    fitted = subject.defended.fitted_on
    if fitted is None:
        raise NotApplicable(f"{subject.defended.name} does not say on which images it set a threshold (fitted_on).")
    known = _pixels(fitted.x)
    shared = sum(image in known for image in _pixels_in_order(subject.split.x))
    n, figures = len(subject.split), {"shared": float(shared)}
    if shared == 0:
        return Finding(False, f"None of {n} images is among the {len(fitted)} that set the threshold.", n, figures)
    sentence = (
        f"{shared} of {n} images are among the {len(fitted)} that set the detector's threshold, so its rates are too "
        "good: set the threshold on images held out from the training set."
    )
    return Finding(True, sentence, n, figures)


def _pixels(x: Tensor) -> set[bytes]:
    return set(_pixels_in_order(x))


def _pixels_in_order(x: Tensor) -> list[bytes]:
    # Adding zero makes −0.0 a 0.0, whose bytes differ.
    return [image.numpy().tobytes() for image in (x.detach().cpu().to(torch.float32) + 0.0)]
