"""Models whose evaluation is broken on purpose, each around a plain network; and broken attacks."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from pytest_robust.attacks.draws import Numbered
from pytest_robust.models.classifier import Classifier


class Around(nn.Module):
    """A plain network with a function of its input before it and a function of its logits behind it."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.inner = copy.deepcopy(classifier)

    def before(self, x: Tensor) -> Tensor:
        return x

    def behind(self, logits: Tensor) -> Tensor:
        return logits

    def forward(self, x: Tensor) -> Tensor:
        return self.behind(self.inner(self.before(x)))


class Scaled(Around):
    """Logits so large that the softmax is one and its cross-entropy's gradient zero."""

    def behind(self, logits: Tensor) -> Tensor:
        return 1e4 * logits


class Saturated(Around):
    """Logits that a saturated function has flattened: no loss of theirs has a gradient."""

    def behind(self, logits: Tensor) -> Tensor:
        between = logits.topk(2, dim=1).values.mean(1, keepdim=True)
        return 10 * torch.tanh(10 * (logits - between))


class Rounded(Around):
    """Inputs rounded to a few grey levels, which has a gradient of zero."""

    def before(self, x: Tensor) -> Tensor:
        return torch.round(4 * x) / 4


class Detached(Around):
    """Inputs that go through something without a gradient."""

    def before(self, x: Tensor) -> Tensor:
        return (torch.round(4 * x) / 4).detach()


class Noisy(Around):
    """Inputs with fresh noise at every pass."""

    def before(self, x: Tensor) -> Tensor:
        return x + 0.3 * torch.randn_like(x)


class Softmax(Around):
    """Probabilities instead of logits."""

    def behind(self, logits: Tensor) -> Tensor:
        return logits.softmax(1)


class Sigmoid(Around):
    """A probability per class, which need not sum to one."""

    def behind(self, logits: Tensor) -> Tensor:
        return logits.sigmoid()


class Shattered(Around):
    """A ripple too fine to change an answer much, and with a gradient that is nothing else."""

    def before(self, x: Tensor) -> Tensor:
        return x + 0.02 * torch.sin(3000 * x)


class Jagged(Around):
    """The same, coarser: answers themselves jump about."""

    def before(self, x: Tensor) -> Tensor:
        return (x + 0.4 * torch.sin(1000 * x)).clamp(0, 1)


class LooksAtTheBatch(Around):
    """Logits that depend on who else is in the batch."""

    def behind(self, logits: Tensor) -> Tensor:
        return logits - logits.mean(0) if len(logits) > 1 else logits


class Remembers(Around):
    """A running mean that a pass in eval mode changes."""

    seen: Tensor

    def __init__(self, classifier: Classifier) -> None:
        super().__init__(classifier)
        self.register_buffer("seen", torch.zeros(()))

    def before(self, x: Tensor) -> Tensor:
        self.seen += 1
        return x


class Optimises(Around):
    """Purifies its input by a step of its own along a gradient."""

    def before(self, x: Tensor) -> Tensor:
        with torch.enable_grad():
            at = x.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(self.inner(at).logsumexp(1).sum(), at)
        return (x + 0.01 * gradient.sign()).clamp(0, 1)


class BreaksOffGrid(Around):
    """NaN for every image that has values between the 17 grey levels of the digits, as no clean one has."""

    def forward(self, x: Tensor) -> Tensor:
        off = (16 * x - torch.round(16 * x)).abs().flatten(1).amax(1) > 1e-3
        return torch.where(off[:, None], torch.nan, self.inner(x))


def around(kind: type[Around], classifier: Classifier) -> Classifier:
    return Classifier(
        kind(classifier), num_classes=classifier.num_classes, input_shape=classifier.input_shape, name=kind.__name__
    )


class Leaves(Numbered):
    """An attack that leaves its ball."""

    def __init__(self, estimator: Any, eps: float = 0.1, seed: int = 0) -> None:
        super().__init__(estimator, seed=seed)
        self.eps = eps

    def _attack_numbered(self, x: Tensor, y: Tensor, numbers: Tensor) -> Tensor:  # noqa: ARG002
        return 1 - x


class OnTheBoundary(Numbered):
    """An attack that halves the way to a wrong image until it stands on the boundary."""

    def __init__(self, estimator: Any, eps: float = 1.0, seed: int = 0) -> None:
        super().__init__(estimator, seed=seed)
        self.eps = eps

    def _attack_numbered(self, x: Tensor, y: Tensor, numbers: Tensor) -> Tensor:  # noqa: ARG002
        low, high = x.clone(), 1 - x
        for _ in range(40):
            middle = (low + high) / 2
            wrong = (self.answers(middle, y).argmax(1) != y)[:, None, None, None]
            low, high = torch.where(wrong, low, middle), torch.where(wrong, middle, high)
        return high
