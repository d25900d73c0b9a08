"""Checks by rivals: no weaker attack fools many images that the attack under examination does not."""

from __future__ import annotations

import torch
from torch import Tensor

from pytest_robust.attacks.attack import Attack
from pytest_robust.attacks.catalogue import FGSM, SQUARE
from pytest_robust.diagnosis.budgets import ARGUMENTS, budget, on_the_edge
from pytest_robust.diagnosis.check import Finding, NotApplicable
from pytest_robust.diagnosis.subject import Subject
from pytest_robust.evaluation.rate import Rate

#: The share of images that a weaker attack may win where the examined one does not; the interval must lie above it, so
#: that one image in a hundred does not decide (ours). Of noise none may.
MOST_SINGLE, MOST_NOISE = 0.005, 0.0
#: Black box: AutoAttack allows 0.2 % (check_square_sr), but beside several attacks; one start of PGD leaves up to
#: 1.5 % to Square on networks that mask nothing (200 held-out training images of the digits, six networks).
MOST_BLACK_BOX = 0.01
#: Queries of the black-box rival for each image (ours; its authors take 5,000 and more).
QUERIES = 300
#: Random points for each image (ours, for a smoke test; Carlini et al. 2019 ask for 10,000 and more).
NOISES = 100
#: The share of images that fool the surface and not the model as deployed (ours).
MOST_NOT_CARRIED_OVER = 0.05


def iterative_beats_single(subject: Subject) -> Finding:
    """Whether images withstand the iterative attack that a single step of the same norm and ε fools."""
    if subject.attack.total_gradient_calls < 2:
        raise NotApplicable(f"{subject.attack.name} is not iterative.")
    return _rival(subject, _same_budget(subject, FGSM), "A single step (FGSM)", MOST_SINGLE)


def whitebox_beats_blackbox(subject: Subject) -> Finding:
    """Whether images withstand the gradient attack that a gradient-free one of the same norm and ε fools."""
    if subject.attack.gradient_calls == 0:
        raise NotApplicable(f"{subject.attack.name} is itself gradient-free.")
    if subject.attack.norm not in ("linf", "l2"):
        raise NotApplicable(f"Square, the gradient-free rival, knows L∞ and L2, not {subject.attack.norm}.")
    rival = _same_budget(subject, SQUARE.configured(max_iter=QUERIES))
    return _rival(subject, rival, f"The gradient-free Square attack ({QUERIES} queries)", MOST_BLACK_BOX)


def whitebox_beats_transfer(subject: Subject) -> Finding:
    """Whether images withstand the attack itself that fall to the same attack made on a surrogate."""
    budget(subject)
    surrogate = subject.surrogate()
    if surrogate is None:
        raise NotApplicable("There is no surrogate for these images: give one, or training images for one.")
    left = subject.withstanding
    if len(left) == 0:
        return _nothing_left(subject)
    made = subject.run(subject.attack, left, surrogate)
    return _judged(subject, subject.fooled(made.x, left.y), "The same attack made on a surrogate", MOST_BLACK_BOX)


def beats_random_noise(subject: Subject) -> Finding:
    """Whether images withstand the attack that random points at distance ε fool the model on."""
    eps, order = budget(subject)
    left = subject.withstanding
    if len(left) == 0:
        return _nothing_left(subject)
    fooled = torch.zeros(len(left), dtype=torch.bool)
    for draw in range(NOISES):
        fooled |= subject.fooled(on_the_edge(left.x, eps, order, subject.seed * NOISES + draw), left.y)
    return _judged(subject, fooled, f"Random noise ({NOISES} draws per image)", MOST_NOISE)


def transfer_failure(subject: Subject) -> Finding:
    """Whether what fools the attacked surface fools the model as it is deployed."""
    adversarial = subject.adversarial
    fooling = adversarial.subset(adversarial.success)
    if len(fooling) == 0:
        raise NotApplicable("The attack fooled its surface on no image.")
    with subject.undisturbed():
        wrong = subject.defended.decide(fooling.x).wrong(fooling.y)
    lost = Rate.of(~wrong)
    figures = {"lost": lost.value}
    if lost.lower <= MOST_NOT_CARRIED_OVER:
        sentence = f"Of images that fool the attacked surface, the deployed model is not wrong on {lost}."
        return Finding(False, sentence, lost.n, figures)
    sentence = (
        f"Of images that fool the attacked surface, the deployed model is not wrong on {lost}: the attack is not aimed "
        "at what is evaluated; attack a surface with the whole defense in it (a model that draws numbers, which "
        "deterministic_forward tells, answers otherwise each time)."
    )
    return Finding(True, sentence, lost.n, figures)


def _same_budget(subject: Subject, rival: Attack) -> Attack:
    eps, _ = budget(subject)
    norm = subject.attack.norm
    assert norm is not None  # `budget` has refused it
    return rival.configured(eps=eps, norm=ARGUMENTS[norm], target=subject.attack.target)


def _rival(subject: Subject, rival: Attack, name: str, most: float) -> Finding:
    left = subject.withstanding
    if len(left) == 0:
        return _nothing_left(subject)
    return _judged(subject, subject.run(rival, left).success, name, most)


def _nothing_left(subject: Subject) -> Finding:
    n = len(subject.images)
    return Finding(False, f"The attack fooled all {n} images, so no other can do better.", n, {"won": 0.0})


def _judged(subject: Subject, fooled: Tensor, name: str, most: float) -> Finding:
    """Flagged where the share of all images that a weaker attack adds lies above `most` with its whole interval."""
    won = Rate(int(fooled.sum()), len(subject.images))
    figures = {"won": won.value, "withstanding": float(len(fooled))}
    if won.lower <= most:
        sentence = f"{name} fools {won.k} of {won.n} images that withstand {subject.attack.name}."
        return Finding(False, sentence, won.n, figures)
    sentence = (
        f"{name} fools {won.k} of {won.n} images that withstand {subject.attack.name}, though it is the weaker attack: "
        "gradients are masked, or the attack's steps and restarts do not suffice."
    )
    return Finding(True, sentence, won.n, figures)
