"""What gradient attacks climb: functions of logits and labels, one value per image."""

from __future__ import annotations

import torch
from torch import Tensor


def runner_up(logits: Tensor, y: Tensor) -> Tensor:
    """Log-sum-exp of the other classes' logits, minus the logit of `y`: rises with the cross-entropy.

    Cross-entropy is log(1 + exp(this)), so both have the same gradient up to a positive factor per image, and an
    attack that uses its sign or its direction takes the same step. But in float32 the gradient of the cross-entropy of
    a confident answer rounds to something else or to zero, and this one's does not.
    """
    own = y[:, None]
    others = logits.scatter(1, own, float("-inf"))
    return others.logsumexp(1) - logits.gather(1, own)[:, 0]


def margin(logits: Tensor, y: Tensor) -> Tensor:
    """The logit of `y` minus the largest other logit: positive where `y` is the answer."""
    own = y[:, None]
    return logits.gather(1, own)[:, 0] - logits.scatter(1, own, float("-inf")).amax(1)


def rejection_counts_as(logits: Tensor, y: Tensor) -> Tensor:
    """Logits (n, K) of a surface with K classes and a last output for "rejected", from its outputs (n, K + 1).

    The label gets the larger of its own output and the rejection's: for who wants a wrong answer, being rejected is as
    bad as being right. So every untargeted attack is aware of the rejection, and its own stopping rules stay true.
    """
    own = y[:, None]
    classes = logits[:, :-1]
    return classes.scatter(1, own, torch.maximum(classes.gather(1, own), logits[:, -1:]))
