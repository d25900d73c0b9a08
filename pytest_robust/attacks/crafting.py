"""Crafting: from an attack, a surface and a split to a checked AdversarialSet, made once and cached."""

from __future__ import annotations

import importlib.util
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pytest_robust.attacks.adversarial_set import AdversarialSet
from pytest_robust.attacks.attack import Attack
from pytest_robust.attacks.checks import check_output, zero_gradient_share
from pytest_robust.attacks.isolation import frozen, seeded
from pytest_robust.data.split import Split
from pytest_robust.errors import AttackError
from pytest_robust.models.classifier import Classifier
from pytest_robust.models.threads import suitable_threads
from pytest_robust.store.artifacts import Artifact, ArtifactStore
from pytest_robust.store.fingerprint import fingerprint

KIND = "adversarial"
#: The two batch sizes at which the surface answers: whoever sits on the boundary answers differently.
BATCH, OTHER_BATCH = 512, 61


def targets_for(attack: Attack, surface: Classifier, x: Tensor, y: Tensor) -> Tensor | None:
    """The wrong class to which each image is pushed, int64 of shape (N,); None if the attack is untargeted.

    Judged by the surface's logits on the clean image; never the true label, whatever the surface thinks of it.
    """
    if attack.target is None:
        return None
    logits = surface.logits_of(x)
    if attack.target == "least_likely":
        return logits.scatter(1, y[:, None], float("inf")).argmin(1)
    return logits.scatter(1, y[:, None], float("-inf")).argmax(1)


def craft(
    attack: Attack, surface: Classifier, split: Split, *, seed: int, batch_size: int | None = None
) -> AdversarialSet:
    """Perturb `split` by `attack` against `surface`, and judge the success from the true labels.

    Args:
        attack: what is done.
        surface: what the attacker differentiates or asks.
        split: clean images and true labels.
        seed: of every random draw.
        batch_size: images per evaluation of the surface, by the attack; None suits the machine.

    Raises:
        AttackError: the attack cannot run here, or its output breaks the contract.
        ModelError: the surface does not give logits.
    """
    targets = targets_for(attack, surface, split.x, split.y)
    share = zero_gradient_share(surface, split.x, split.y) if attack.gradient_calls else 0.0
    overrides: dict[str, Any] = {} if batch_size is None else {"batch_size": batch_size}
    with frozen(surface), seeded(seed, surface.device), suitable_threads(surface.input_shape, surface.device):
        perturb = attack.build(surface, seed=seed, **overrides).perturb
        perturbed = perturb(split.x, split.y if targets is None else targets) if len(split) else split.x.clone()
    check_output(attack, split.x, perturbed)
    perturbed = perturbed.clamp(0, 1)
    fooled, again = (surface.predict(perturbed, size) != split.y for size in (BATCH, OTHER_BATCH))
    provenance = {
        "attack": attack.name,
        "parameters": {
            k: str(v) if not isinstance(v, (int, float, bool, str)) else v for k, v in attack.params.items()
        },
        "title": attack.title,
        "target": attack.target,
        "norm": attack.norm,
        "surface": surface.name,
        "surface_fingerprint": surface.fingerprint,
        "data": split.name,
        "seed": seed,
        "gradient_calls": attack.total_gradient_calls,
        "zero_gradient": share,
    }
    return AdversarialSet(split, perturbed, fooled & again, fooled != again, targets, None, provenance)


def attack_key(attack: Attack, surface: Classifier, split: Split, seed: int) -> str:
    """Fingerprint of everything that determines an adversarial set; computed without importing ART."""
    settings = {
        "attack": attack.name,
        "parameters": dict(attack.params),
        "target": attack.target,
        "norm": attack.norm,
        "code": _code(attack.implementation.partition(":")[0]),
        "torch": torch.__version__.partition("+")[0],
        "surface": surface.fingerprint,
        "device": surface.device.type,
        "split": split.fingerprint,
        "seed": seed,
    }
    return fingerprint(["adversarial", 1, settings])


@lru_cache(maxsize=64)
def _code(module: str) -> list[str]:
    """What the attack's code is: ART's by its version, anybody else's by its source and this package's by all of it."""
    if module.partition(".")[0] == "art":
        return ["art", version("adversarial-robustness-toolbox"), *_code("pytest_robust.attacks.adapter")]
    try:
        spec = importlib.util.find_spec(module)
    except ModuleNotFoundError:
        spec = None
    if spec is None or spec.origin is None:
        raise AttackError(f"the attack's module {module!r} cannot be found: install the package that holds it.")
    own = sorted(Path(__file__).parent.glob("*.py"))
    return [fingerprint(path.read_text(encoding="utf-8")) for path in [Path(spec.origin), *own]]


def load_or_craft(
    attack: Attack, surface: Classifier, split: Split, store: ArtifactStore, *, seed: int
) -> tuple[AdversarialSet, bool]:
    """The adversarial set from `store`, crafted and kept there now if it was not; True if crafted now."""

    def build() -> Artifact:
        made = craft(attack, surface, split, seed=seed)
        tensors = {"x": made.x, "success": made.success, "unstable": made.unstable}
        if made.targets is not None:
            tensors["targets"] = made.targets
        return Artifact({k: v.cpu().contiguous() for k, v in tensors.items()}, {"provenance": made.provenance})

    artifact, built = store.get_or_build(KIND, attack_key(attack, surface, split, seed), build)
    tensors, provenance = artifact.tensors, artifact.metadata["provenance"]
    kept = AdversarialSet(
        split, tensors["x"], tensors["success"], tensors["unstable"], tensors.get("targets"), None, provenance
    )
    return kept, built
