"""The binarization test: is an adversarial example found that was planted and is therefore known to exist?

Zimmermann et al. 2022, Increasing Confidence in Adversarial Robustness Evaluations (https://arxiv.org/abs/2206.13991).
For each image the last layer gives way to a linear readout that tells a random point at distance ε from the image and
points inside the ball. That point fools the readout, so an attack that finds no such point is too weak.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pytest_robust.attacks.geometry import Noise
from pytest_robust.diagnosis.budgets import budget, on_the_edge
from pytest_robust.diagnosis.check import Finding, NotApplicable
from pytest_robust.diagnosis.subject import Subject
from pytest_robust.evaluation.rate import Rate
from pytest_robust.models.classifier import Classifier

#: Points inside, at most so many, each at most this share of ε from the image (the reference code's gap of 5 %). The
#: paper takes 999 on CIFAR-10. There must be fewer than features, or no readout is right on all of them, and (ours) at
#: most a quarter of the image's values: with more, a readout is right by being jagged, which defeats sound attacks
#: (found on held-out training images of the digits).
INNER, INSIDE, SHARE_OF_VALUES = 200, 0.95, 0.25
#: How near to the boundary the planted point lies, from 0, as far as the points inside, to 1, on it (ours, as the
#: reference code's decision_boundary_closeness): the nearer, the fewer random points find one.
CLOSENESS = 0.9
#: Random points of a random attack, at least (the paper gives it as many as the attack has queries).
RANDOM = 100
#: The share of planted examples that any correct attack finds (the paper's).
LEAST_SUCCESS = 0.95
#: With fewer features, or fewer images with a planted example, the test says nothing (ours).
FEWEST_FEATURES, FEWEST_IMAGES = 16, 8


class Readout(nn.Module):
    """A classifier's features with a linear readout of two classes in the place of its last layer.

    Args:
        classifier: whose features are read.
        weight: float of shape (F,).
        bias: float of shape ().
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, classifier: Classifier, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.classifier = classifier
        self.register_buffer("weight", weight)
        self.register_buffer("bias", bias)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of shape (N, 2): inside, and planted."""
        value = self.classifier.features(x) @ self.weight + self.bias
        return torch.stack([-value, value], dim=1)


def binarization_test(subject: Subject) -> Finding:
    """Whether the attack finds the adversarial examples that were planted."""
    budget(subject)
    _check_readable(subject)
    found = subject.remembered(binarization_test, lambda: _run(subject))
    planted = found["planted"].bool()
    n = int(planted.sum())
    if n < FEWEST_IMAGES:
        raise NotApplicable(
            f"An example could be planted on only {n} of {len(planted)} images: the features do not tell."
        )
    attack, noise = Rate.of(found["attack"].bool()[planted]), Rate.of(found["random"].bool()[planted])
    figures = {"success": attack.value, "random_success": noise.value, "planted": n / len(planted)}
    beside = f"random points find {noise.value:.0%}"
    if attack.value >= LEAST_SUCCESS:
        return Finding(False, f"The attack finds the planted adversarial example on {attack}; {beside}.", n, figures)
    sentence = (
        f"The attack finds the planted adversarial example on only {attack}; {beside}: it would miss such examples of "
        "the model itself; give it more steps, restarts, or gradients that lead somewhere."
    )
    return Finding(True, sentence, n, figures)


def _check_readable(subject: Subject) -> None:
    surface, attack = subject.surface, subject.attack
    heads = [m for m in surface.network.modules() if isinstance(m, nn.Linear)]
    if not heads or surface.rejects or surface.attack_loss is not None:
        raise NotApplicable(f"{surface.name} has no single last linear layer that a readout could replace.")
    if sum(head.out_features == heads[-1].out_features for head in heads) > 1:
        raise NotApplicable(f"{surface.name} has several linear layers that could be the last one.")
    if heads[-1].in_features < FEWEST_FEATURES:
        raise NotApplicable(f"{surface.name} has only {heads[-1].in_features} features, too few for a readout.")
    if attack.targeted:
        raise NotApplicable("The readout has two classes, so that a target means nothing.")


def _run(subject: Subject) -> dict[str, Tensor]:
    _ = subject.adversarial  # an attack that cannot run on the model itself says why
    results = [_one(subject, i) for i in range(len(subject.few))]
    planted, attack, noise = (torch.tensor(each) for each in zip(*results, strict=True))
    return {"planted": planted, "attack": attack, "random": noise}


def _one(subject: Subject, number: int) -> tuple[bool, bool, bool]:
    """Of one image: could an example be planted, did the attack find one, did random points."""
    x, device = subject.few.x[number : number + 1], subject.surface.device
    inside = torch.zeros(1, dtype=torch.int64)
    with subject.undisturbed():
        readout = _planted(subject, x, subject.seed + number)
        if readout is None:
            return False, False, False
        binary = Classifier(readout, num_classes=2, input_shape=subject.surface.input_shape, name="readout").to(device)
        attacked = subject.attack.build(binary, seed=subject.seed).perturb(x, inside)
        noise = _random_points(subject, x, subject.seed + number)
        return True, bool((binary.predict(attacked) == 1).all()), bool((binary.predict(noise) == 1).any())


def _planted(subject: Subject, x: Tensor, seed: int) -> Readout | None:
    """A readout that is right on the image, on points inside and on a planted one; None if there is none."""
    eps, order = budget(subject)
    surface = subject.surface
    width = surface.features_of(x).shape[1]
    inner = x.repeat(max(1, min(INNER, width // 2, int(x.numel() * SHARE_OF_VALUES))), 1, 1, 1)
    inner = (inner + Noise(seed, 1).draw(inner, INSIDE * eps, order)[0]).clamp(0, 1)
    points = torch.cat([x, inner, on_the_edge(x, eps, order, seed)])
    features = surface.features_of(points).double()
    weight, bias = _fitted(features)
    bias = bias - CLOSENESS
    readout = Readout(surface, weight.float().to(surface.device), bias.float().to(surface.device)).eval()
    with torch.no_grad():
        right = readout(points.to(surface.device)).argmax(1).cpu()
    return readout if not bool(right[:-1].any()) and bool(right[-1]) else None


def _fitted(features: Tensor) -> tuple[Tensor, Tensor]:
    """Weight and bias of the smallest linear function that is −1 on all rows of `features` (n, F) but the last, and 1
    on that.

    There are more features than rows, so one exists unless the last row's features are a mean of the others'. The
    reference code fits a logistic regression, to the same end.
    """
    centre = features.mean(0)
    targets = features.new_full((len(features), 1), -1.0)
    targets[-1] = 1.0
    rows = torch.cat([features - centre, features.new_ones(len(features), 1)], dim=1)
    solution = torch.linalg.lstsq(rows, targets, driver="gelsd").solution[:, 0]
    weight = solution[:-1]
    return weight, solution[-1] - centre @ weight


def _random_points(subject: Subject, x: Tensor, seed: int) -> Tensor:
    """As many random points as the attack has gradients: half inside the ball, half at its edge."""
    eps, order = budget(subject)
    each = x.repeat(max(RANDOM, subject.attack.total_gradient_calls) // 2, 1, 1, 1)
    # Another seed than the planting's, which would find its own point again.
    inside = (each + Noise(seed + 1_000_003, 1).draw(each, eps, order)[0]).clamp(0, 1)
    return torch.cat([inside, on_the_edge(each, eps, order, seed + 2_000_003)])
