"""What every registered attack must do, ours and other packages': re-exported by `pytest_robust.testing`."""

from __future__ import annotations

import random

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pytest_robust.attacks.adversarial_set import AdversarialSet
from pytest_robust.attacks.attack import Attack
from pytest_robust.attacks.crafting import craft
from pytest_robust.data.split import Split
from pytest_robust.models.classifier import Classifier
from pytest_robust.models.threads import suitable_threads

CLASSES, SIDE, IMAGES = 4, 8, 8
#: A budget that an undefended toy cannot withstand, by norm.
GENEROUS = {"linf": 0.5, "l2": 6.0, "l1": 40.0}
#: The share of the toy's images that an attack must win.
ENOUGH = 0.7


def toy_split(count: int, seed: int = 0) -> Split:
    """`count` noisy grey images of 8×8 with one quarter brighter: which one is the label."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(count) % CLASSES
    x = 0.4 + 0.05 * torch.rand(count, 1, SIDE, SIDE, generator=generator)
    half = SIDE // 2
    for quarter in range(CLASSES):
        top, left = half * (quarter // 2), half * (quarter % 2)
        x[y == quarter, :, top : top + half, left : left + half] += 0.15
    return Split(x, y, CLASSES, "toy")


def toy_classifier() -> Classifier:
    """A small convolutional network with batch normalisation and dropout that gets all of `toy_split` right."""
    with torch.random.fork_rng([]), suitable_threads((1, SIDE, SIDE), torch.device("cpu")):
        torch.manual_seed(0)
        layers = nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Dropout(0.2)
        network = nn.Sequential(*layers, nn.Linear(8 * SIDE * SIDE, CLASSES))
        classifier = Classifier(network, num_classes=CLASSES, input_shape=(1, SIDE, SIDE), mean=0.45, name="toy")
        split, optimizer = toy_split(128, seed=1), torch.optim.Adam(classifier.parameters(), 3e-3)
        classifier.train()
        for _ in range(30):
            optimizer.zero_grad()
            F.cross_entropy(classifier(split.x), split.y).backward()
            optimizer.step()
        optimizer.zero_grad()
    return classifier.eval()


def check_attack(attack: Attack, *, enough: float = ENOUGH) -> None:
    """Assert that `attack` keeps the contract, on a toy that it must beat; a budget is set generously.

    Args:
        attack: what is checked.
        enough: share of the toy's images that it must win; less than the default for one that does not look for what
            fools the model, such as noise.

    Checked: metadata; output of the right shape and type, in [0, 1] and inside the ball; clean images untouched; the
    labels it is given are the ones it leaves; the model's mode, weights and gradients and the global random states
    are as before; the same seed gives the same images; no images give no images.

    Raises:
        AssertionError, AttackError: with what is wrong.
    """
    assert attack.name, "the attack has no name"
    assert attack.reference, f"{attack.name}: say where it comes from (reference)"
    if attack.eps is not None and attack.norm in GENEROUS:
        attack = attack.configured(eps=GENEROUS[attack.norm])
    surface, split = toy_classifier(), toy_split(IMAGES, seed=2)
    _check_traceless(attack, surface, split)
    first = craft(attack, surface, split, seed=3)
    again = craft(attack, surface, split, seed=3)
    assert torch.equal(first.x, again.x), f"{attack.name}: the same seed gives other images"
    nothing = craft(attack, surface, split.subset(torch.empty(0, dtype=torch.int64)), seed=3)
    assert len(nothing) == 0, f"{attack.name}: no images must give none"
    _check_wins(attack, first, enough)
    _check_labels(attack, surface, split)


def _check_wins(attack: Attack, made: AdversarialSet, enough: float) -> None:
    share = float(made.success.float().mean())
    assert share >= enough, f"{attack.name}: fools an undefended toy on {share:.0%} of the images only: it is broken"
    if made.targets is not None:
        assert not bool((made.targets == made.y).any()), f"{attack.name}: a target is the true label"


def _check_labels(attack: Attack, surface: Classifier, split: Split) -> None:
    """Under wrong labels every image fools the surface as it is; an attack that leaves its answer would repair it."""
    if attack.targeted:
        return
    mislabelled = Split(split.x, (split.y + 1) % CLASSES, CLASSES, "mislabelled toy")
    made = craft(attack, surface, mislabelled, seed=3)
    kept = bool(made.success.all())
    assert kept, f"{attack.name}: repairs images that are misclassified already: it ignores the labels it is given"


def _check_traceless(attack: Attack, surface: Classifier, split: Split) -> None:
    clean, weights = split.x.clone(), {k: v.clone() for k, v in surface.state_dict().items()}
    surface.train()
    next(surface.parameters()).requires_grad_(False)
    for parameter in surface.parameters():
        parameter.grad = torch.ones_like(parameter)
    before = _traces(surface), _random_states()
    attack.build(surface, seed=1).perturb(split.x, (split.y + 1) % CLASSES if attack.targeted else split.y)
    assert torch.equal(split.x, clean), f"{attack.name}: changes the images it is given"
    assert _traces(surface) == before[0], f"{attack.name}: leaves the model's mode, weight gradients or flags changed"
    assert _random_states() == before[1], f"{attack.name}: changes the global random states"
    same = all(torch.equal(v, weights[k]) for k, v in surface.state_dict().items())
    assert same, f"{attack.name}: changes the model's weights or statistics"
    surface.requires_grad_(True).zero_grad()
    surface.eval()


def _traces(model: nn.Module) -> list[object]:
    flags = [(p.requires_grad, None if p.grad is None else _bytes(p.grad)) for p in model.parameters()]
    return [[module.training for module in model.modules()], flags]


def _random_states() -> list[object]:
    numpy = np.random.get_state(legacy=False)
    return [random.getstate(), str(numpy), _bytes(torch.get_rng_state())]


def _bytes(tensor: Tensor) -> bytes:
    return tensor.detach().cpu().numpy().tobytes()
