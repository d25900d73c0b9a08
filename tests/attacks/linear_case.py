"""A linear model, on which the smallest adversarial perturbation is known exactly."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pytest_robust.data.split import Split
from pytest_robust.models.classifier import Classifier

SHAPE = (1, 6, 6)


class LinearCase:
    """A linear classifier, images inside the box that it gets right, and their exact distances.

    Args:
        num_classes: of the classifier.
        loudness: factor on all logits, which moves no boundary.
    """

    def __init__(self, num_classes: int, loudness: float = 1.0, count: int = 12, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        size = SHAPE[0] * SHAPE[1] * SHAPE[2]
        linear = nn.Linear(size, num_classes)
        with torch.no_grad():
            linear.weight.copy_(torch.randn(num_classes, size, generator=generator))
            linear.weight.mul_(loudness)
            linear.bias.copy_(-linear.weight.sum(1) / 2)
        self.classifier = Classifier(
            nn.Sequential(nn.Flatten(), linear), num_classes=num_classes, input_shape=SHAPE, name="linear"
        )
        self._weight = linear.weight.detach()
        x = 0.5 + 0.5 * (torch.rand(20 * count, *SHAPE, generator=generator) - 0.5)
        self.split = Split(x, self.classifier.predict(x), num_classes, "linear")
        # Far enough that a step of an attack is small beside it, near enough that the box is not in the way.
        far = (self.distances(2.0) > 0.05).nonzero()[:count, 0]
        self.split = self.split.subset(far)

    def distances(self, order: float) -> Tensor:
        """Smallest perturbation that changes the answer, in the norm of `order`, of shape (N,)."""
        dual = {2.0: 2.0, float("inf"): 1.0}[order]
        logits = self.classifier.logits_of(self.split.x)
        rows = []
        for z, y in zip(logits, self.split.y, strict=True):
            slopes = (self._weight - self._weight[y]).norm(p=dual, dim=1)
            gaps = z[y] - z
            rows.append(min(float(gaps[k] / slopes[k]) for k in range(len(z)) if k != y))
        return torch.tensor(rows)
