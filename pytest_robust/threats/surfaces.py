"""Surfaces: networks made of trained classifiers, that an attacker differentiates in place of a defended model.

Each is an ``nn.Module`` whose parts are `Classifier`s, so that a `Classifier` around it has a fingerprint of all that
its answers depend on. A defense puts into them what stands in the gradient's way: a vote, a detector, a rounding.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pytest_robust.models.classifier import Classifier

#: Guards divisions by the spread of logits that are all alike.
TINY = 1e-12


def surface_of(network: nn.Module, like: Classifier, name: str, *, outputs: int | None = None) -> Classifier:
    """A `Classifier` around a network of images in [0, 1], with the shape and the device of `like`.

    Args:
        network: one of this module's, or a defense's own.
        like: a trained classifier that takes the same images.
        name: for people and reports.
        outputs: how many it gives; one more than `like`'s means that the last one is "rejected".
    """
    count = outputs or like.num_classes
    surface = Classifier(
        network,
        num_classes=count,
        input_shape=like.input_shape,
        name=name,
        rejects=count > like.num_classes,
    )
    return surface.to(like.device).eval().requires_grad_(False)


class MeanProbability(nn.Module):
    """The mean of the members' probabilities, as logits: log (1/M Σ softmax zₘ).

    Args:
        members: classifiers with the same number of outputs.
    """

    def __init__(self, members: Sequence[Classifier]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, x: Tensor) -> Tensor:
        """Logits, float of shape (N, K), whose softmax is the mean of the members' softmaxes."""
        each = torch.stack([member(x).log_softmax(1) for member in self.members])
        return each.logsumexp(0) - math.log(len(self.members))


class MeanLoss(MeanProbability):
    """The same answers, but an attacker climbs the mean of the members' own losses (Strauss et al.: Grad. 2)."""

    def attack_loss(self, x: Tensor, y: Tensor, targeted: bool) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        """Logits, and per image the mean cross-entropy, with a gradient in its direction that does not vanish.

        A confident member's cross-entropy has a gradient that rounds to zero: it is p(wrong) times that of the
        log-odds of being wrong. Here the weights p(wrong) are taken relative to the largest, which keeps the direction.
        A targeted attack descends the same value.
        """
        logits = torch.stack([member(x) for member in self.members])
        own = y.expand(len(logits), -1)[..., None]
        log_odds = logits.scatter(2, own, float("-inf")).logsumexp(2) - logits.gather(2, own)[..., 0]
        weight = F.logsigmoid(log_odds.detach())
        direction = ((weight - weight.amax(0)).exp() * log_odds).mean(0)
        loss = F.softplus(log_odds.detach()).mean(0)
        return logits.log_softmax(2).logsumexp(0) - math.log(len(logits)), loss + direction - direction.detach()


class ScaledMargins(MeanProbability):
    """The same answers, but an attacker climbs the mean of the members' log-odds, each divided by its logits' spread.

    Of members whose logits differ in scale, the largest decide the mean probability and its gradient almost alone, and
    an attack on it does not see what the others will say once that member is fooled. On 200 held-out training images
    of the digits at ε = 0.2, an ensemble of distilled networks had 37 right under one PGD on the mean probability and
    18 on this; with ten restarts and towards each wrong class, 8 and 1. Of plainly trained networks, which are alike in
    scale, one PGD left 7 and 13: so this is a surface beside the mean probability, and not in its place.
    """

    def attack_loss(self, x: Tensor, y: Tensor, targeted: bool) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        """Logits, and per image the mean of the members' scaled log-odds of another class, float of shape (N,)."""
        logits = torch.stack([member(x) for member in self.members])
        own = y.expand(len(logits), -1)[..., None]
        log_odds = logits.scatter(2, own, float("-inf")).logsumexp(2) - logits.gather(2, own)[..., 0]
        spread = logits.detach().std(2).clamp_min(TINY)
        return logits.log_softmax(2).logsumexp(0) - math.log(len(logits)), (log_odds / spread).mean(0)


class DetectorAware(nn.Module):
    """A classifier and a detector as one network with an output for "rejected" (Carlini & Wagner 2017, section 3.2).

    The detector's output is the largest logit plus its suspicion, so it is the answer exactly where the detector
    rejects: https://arxiv.org/abs/1705.07263.

    Args:
        classifier: what answers.
        suspicion: a differentiable module from images (N, C, H, W) to float (N,), above zero where it rejects.
    """

    def __init__(self, classifier: Classifier, suspicion: nn.Module) -> None:
        super().__init__()
        self.classifier = classifier
        self.suspicion = suspicion

    def forward(self, x: Tensor) -> Tensor:
        """The classifier's logits and the detector's output, float of shape (N, K + 1)."""
        logits = self.classifier(x)
        rejected = logits.amax(1) + self.suspicion(x)
        return torch.cat([logits, rejected[:, None]], dim=1)


def straight_through(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """`function` of images in the forward pass, the identity in the backward one (BPDA: Athalye et al. 2018).

    For a function that has no useful gradient and changes an image little: rounding, a median.
    https://arxiv.org/abs/1802.00420
    """
    return x + (function(x) - x).detach()
