"""Whether a network is any better than guessing: of one that is not, no figure of robustness says anything."""

from __future__ import annotations

from torch import Tensor

from pytest_robust.evaluation.rate import Rate

#: What to look at first where a network seems to guess.
NORMALISATION = "that the images are normalised as in training (mean=, std=)"


def guessing_rate(y: Tensor) -> float:
    """The accuracy of whoever always answers with the most frequent of the labels `y`, int64 of shape (N,), N > 0."""
    return int(y.bincount().max()) / len(y)


def guessing_signs(clean: Rate, guessing: float, *, first: str = NORMALISATION) -> tuple[str, ...]:
    """What speaks against a network that is no better than guessing, a sentence; empty when nothing does.

    Args:
        clean: accuracy on the images as they are.
        guessing: see `guessing_rate`.
        first: the cause to look at first.
    """
    if clean.lower > guessing or clean.value > (1 + guessing) / 2:
        return ()
    causes = [first, "that the labels count the classes in the model's order", "that weights were loaded"]
    return (f"the clean accuracy {clean} is no better than guessing ({guessing:.3f}): check {', '.join(causes)}",)
