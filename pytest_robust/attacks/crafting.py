"""Crafting: from an attack, a surface and a split to a checked AdversarialSet, made once and cached."""

from __future__ import annotations

import importlib.util
import re
import sys
import warnings
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from pytest_robust.attacks.adversarial_set import AdversarialSet
from pytest_robust.attacks.attack import COUNTED, Attack
from pytest_robust.attacks.checks import check_output, zero_gradient_share
from pytest_robust.attacks.isolation import frozen, seeded
from pytest_robust.data.split import Split
from pytest_robust.errors import AttackError, SettingsError
from pytest_robust.models.batches import answer_batch
from pytest_robust.models.classifier import Classifier
from pytest_robust.models.threads import suitable_threads
from pytest_robust.store.artifacts import Artifact, ArtifactStore, DamagedArtifactWarning
from pytest_robust.store.code import module_fingerprint
from pytest_robust.store.fingerprint import fingerprint

KIND = "adversarial"
#: The attack modules, and what 8-bit pixels are: an attack on them searches among those.
_IMPORT = re.compile(
    rf"^\s*(?:from|import)\s+({re.escape(__package__)}\.\w+|pytest_robust\.data\.pixels)\b", re.MULTILINE
)


def targets_for(attack: Attack, surface: Classifier, split: Split) -> Tensor | None:
    """The wrong class to which each image is pushed, int64 of shape (N,); None if the attack is untargeted.

    Judged by the surface's logits on the clean image, among the classes of `split`; never the true label, whatever the
    surface thinks of it, and never a further output of the surface: an attacker does not want to be rejected.

    Raises:
        SettingsError: "label+K" or "likely+K" with more wrong classes than there are.
    """
    if attack.target is None:
        return None
    counted = COUNTED.fullmatch(attack.target)
    step = int(counted[2]) if counted else 1
    if step >= split.num_classes:
        raise SettingsError(
            f"the attack {attack.name!r} has target={attack.target!r}, but there are {split.num_classes} classes."
        )
    if counted and counted[1] == "label":
        return (split.y + step) % split.num_classes
    logits, y = surface.logits_of(split.x)[:, : split.num_classes], split.y[:, None]
    if attack.target == "least_likely":
        return logits.scatter(1, y, float("inf")).argmin(1)
    ranked = logits.scatter(1, y, float("-inf")).sort(dim=1, descending=True, stable=True)
    return ranked.indices[:, step - 1]


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
        SettingsError: a budget that cannot be, or images that the surface does not take.
    """
    attack.check()
    _check_fits(surface, split)
    overrides: dict[str, Any] = {} if batch_size is None else {"batch_size": batch_size}
    with frozen(surface), seeded(seed, surface.device), suitable_threads(surface.input_shape, surface.device):
        targets = targets_for(attack, surface, split)
        built = attack.build(surface, seed=seed, **overrides)
        wanted = split.y if targets is None else targets
        share = 0.0
        if attack.gradient_calls:
            share = zero_gradient_share(surface, split.x, split.y, attack=built, goal=wanted)
        perturbed = built.perturb(split.x, wanted) if len(split) else split.x.clone()
        check_output(attack, split.x, perturbed)
        perturbed = perturbed.clamp(0, 1)
        success, unstable = _judge(surface, split, perturbed)
        right = surface.predict(split.x) == split.y
    provenance = {**_provenance(attack, surface, split, seed), "zero_gradient": share}
    outcome = getattr(built, "outcome", None) if len(split) else None
    return AdversarialSet(split, perturbed, success, unstable, targets, None, provenance, outcome, right)


def _check_fits(surface: Classifier, split: Split) -> None:
    if surface.input_shape != split.input_shape:
        raise SettingsError(
            f"{surface.name!r} takes images of shape {surface.input_shape} (C, H, W), but {split.name} has "
            f"{split.input_shape}: attack it on the images it was made for."
        )
    if surface.num_classes < split.num_classes:
        raise SettingsError(
            f"{surface.name!r} gives {surface.num_classes} logits, but {split.name} has {split.num_classes} classes: "
            "say num_classes as the images have them."
        )


def _judge(surface: Classifier, split: Split, perturbed: Tensor) -> tuple[Tensor, Tensor]:
    """Which images the surface takes for another class of the split, and on which it wavers; bool of shape (N,).

    Asked at two batch sizes: whoever sits on the boundary is answered differently, and fools nobody reliably.
    """
    batch = answer_batch(surface.input_shape, surface.device)
    other_batch = max(1, min(batch, len(split)) // 3)
    answers = [surface.predict(perturbed, size) for size in (batch, other_batch)]
    fooled = [(answer != split.y) & (answer < split.num_classes) for answer in answers]
    return fooled[0] & fooled[1], answers[0] != answers[1]


def _provenance(attack: Attack, surface: Classifier, split: Split, seed: int) -> dict[str, Any]:
    plain = {k: v if isinstance(v, (int, float, bool, str)) else str(v) for k, v in attack.params.items()}
    return {
        "attack": attack.name,
        "parameters": plain,
        "title": attack.title,
        "target": attack.target,
        "norm": attack.norm,
        "budget": attack.budget,
        "surface": surface.name,
        "surface_fingerprint": surface.fingerprint,
        "data": split.name,
        "seed": seed,
        "gradient_calls": attack.total_gradient_calls,
    }


class Fingerprinted(Protocol):
    """Images that know their fingerprint: a `Split`, or some that are not read yet."""

    @property
    def fingerprint(self) -> str:
        """Of the images and their labels."""


def attack_key(attack: Attack, surface: Classifier, images: Fingerprinted, seed: int) -> str:
    """Fingerprint of everything that determines an adversarial set; computed without importing ART."""
    settings = {
        "attack": attack.name,
        "parameters": dict(attack.params),
        "target": attack.target,
        "norm": attack.norm,
        "implementation": attack.implementation,
        "code": [_code(path.partition(":")[0]) for path in _import_paths(attack)],
        "art": version("adversarial-robustness-toolbox"),
        "torch": torch.__version__.partition("+")[0],
        "surface": surface.fingerprint,
        "device": surface.device.type,
        "split": images.fingerprint,
        "seed": seed,
    }
    return fingerprint(["adversarial", 2, settings])


def _import_paths(attack: Attack) -> list[str]:
    """Of the implementation, and of every class that a parameter names: an attack that wraps another runs both."""
    named = [value for value in attack.params.values() if isinstance(value, str) and ":" in value]
    return [attack.implementation, *named]


@lru_cache(maxsize=64)
def _code(module: str) -> list[str]:
    """What the attack's code is: its module, and this package's that make images and that it or the crafting imports.

    ART's own modules count by ART's version. An edit to one attack does not craft another's images again. Of an attack
    from elsewhere, the user's own modules that it imports count as well.
    """
    pending = [__name__, *([] if module.partition(".")[0] == "art" else [module])]
    texts: dict[str, str] = {}
    while pending:
        name = pending.pop()
        if name not in texts:
            texts[name] = _source(name).read_text(encoding="utf-8")
            pending += [found for found in _IMPORT.findall(texts[name]) if found not in texts]
    code = [fingerprint([name, texts[name]]) for name in sorted(texts)]
    elsewhere = module.partition(".")[0] not in ("art", __package__.partition(".")[0])
    return [*code, module_fingerprint(module)] if elsewhere else code


def _source(module: str) -> Path:
    """The file of `module`, which is not imported if it was not yet."""
    loaded = getattr(sys.modules.get(module), "__file__", None)
    if loaded is not None:
        return Path(loaded)
    try:
        spec = importlib.util.find_spec(module)
    except (ModuleNotFoundError, ValueError):
        spec = None
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        raise AttackError(f"the attack's module {module!r} cannot be found: install the package that holds it.")
    return Path(spec.origin)


def load_or_craft(
    attack: Attack, surface: Classifier, split: Split, store: ArtifactStore, *, seed: int
) -> tuple[AdversarialSet, bool]:
    """The adversarial set from `store`, crafted and kept there now if it was not; True if crafted now.

    Warns:
        DamagedArtifactWarning: what was kept breaks the attack's contract on these images, and is crafted again.

    Raises:
        AttackError, ModelError, SettingsError: as `craft`.
    """

    def build() -> Artifact:
        made = craft(attack, surface, split, seed=seed)
        tensors = {"x": made.x, "success": made.success, "unstable": made.unstable}
        tensors |= {k: v for k in ("targets", "outcome", "right") if (v := getattr(made, k)) is not None}
        return Artifact({k: v.cpu().contiguous() for k, v in tensors.items()}, {"provenance": made.provenance})

    key = attack_key(attack, surface, split, seed)
    artifact, built = store.get_or_build(KIND, key, build)
    if not built:
        try:  # whoever changed the images while they were attacked has kept what belongs to others
            check_output(attack, split.x, artifact.tensors["x"])
        except AttackError as error:
            warnings.warn(DamagedArtifactWarning(f"a cached set is crafted again: {error}"), stacklevel=2)
            store.write(KIND, key, build())
            artifact, built = store.get_or_build(KIND, key, build)[0], True
    tensors, provenance = artifact.tensors, artifact.metadata["provenance"]
    kept = AdversarialSet(
        split,
        tensors["x"],
        tensors["success"],
        tensors["unstable"],
        tensors.get("targets"),
        None,
        provenance,
        tensors.get("outcome"),
        tensors.get("right"),
    )
    return kept, built
