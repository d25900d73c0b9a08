"""The loss of adversarial training: on clean images and on adversarial ones made anew for every step."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from pytest_robust.models.classifier import Classifier
from pytest_robust.models.losses import Batch, TrainingLoss, right


@dataclass(frozen=True)
class AdversarialMix(TrainingLoss):
    """A mean of the loss on clean images and on adversarial ones that are made anew for every step, in L∞.

    With one step of the whole budget and `share` ½ it is FGSM mixing, ½ J(x) + ½ J(x_FGSM) (Goodfellow et al. 2015,
    arXiv:1412.6572); with a random start, several steps and `share` 1 it is PGD adversarial training (Madry et al.
    2018, arXiv:1706.06083).

    Args:
        eps: budget ε in units of [0, 1] images.
        eps_step: length of a step.
        max_iter: steps.
        random_start: start uniformly inside the ball instead of at the image.
        share: weight of the adversarial images' loss, above 0 and at most 1.
    """

    eps: float = 0.1
    eps_step: float = 0.1
    max_iter: int = 1
    random_start: bool = False
    share: float = 0.5

    def __call__(self, classifier: Classifier, batch: Batch) -> tuple[Tensor, Tensor]:
        """As in `TrainingLoss`."""
        adversarial = classifier(self._perturbed(classifier, batch.x, batch.y))
        loss = F.cross_entropy(adversarial.float(), batch.y)
        if self.share == 1:
            return loss, right(adversarial, batch.y)
        logits = classifier(batch.x)
        return (1 - self.share) * F.cross_entropy(logits.float(), batch.y) + self.share * loss, right(logits, batch.y)

    def _perturbed(self, classifier: Classifier, x: Tensor, y: Tensor) -> Tensor:
        at = x
        if self.random_start:
            at = (x + torch.empty_like(x).uniform_(-self.eps, self.eps)).clamp_(0, 1)
        for _ in range(self.max_iter):
            images = at.detach().requires_grad_()
            # Summed, so that an image's gradient does not depend on how many are in the batch.
            loss = F.cross_entropy(classifier(images).float(), y, reduction="sum")
            (gradient,) = torch.autograd.grad(loss, images)
            stepped = images.detach() + self.eps_step * gradient.sign()
            at = (x + (stepped - x).clamp_(-self.eps, self.eps)).clamp_(0, 1)
        return at
