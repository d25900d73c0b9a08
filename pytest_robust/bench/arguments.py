"""What a user may hand to the bench by mistake, and the sentence that says what to hand it instead."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from inspect import get_annotations

import torch
from torch import nn

from pytest_robust.attacks.adversarial_set import AdversarialSet
from pytest_robust.attacks.attack import Attack
from pytest_robust.bench.defense import Defense
from pytest_robust.bench.profile import Profile
from pytest_robust.data.split import Split
from pytest_robust.errors import DefenseError, SettingsError
from pytest_robust.models.classifier import Classifier
from pytest_robust.threats.defended import Defended

WRAP = "wrap it: pytest_robust.Classifier(network, num_classes=10, input_shape=(1, 28, 28))"


def check_surface(surface: object) -> None:
    """Raise SettingsError unless `surface` is what an attacker can differentiate."""
    if isinstance(surface, Classifier):
        return
    if isinstance(surface, Defended):
        raise SettingsError(
            f"an attack needs a surface of {surface.name!r}, not the defended model: write bench.surface(defended, "
            "'adaptive'), or another threat model."
        )
    if isinstance(surface, nn.Module):
        raise SettingsError(f"an attack needs a Classifier, not a bare {type(surface).__name__}: {WRAP}.")
    raise SettingsError(
        f"an attack needs a Classifier to attack, not {surface!r}: bench.classifier, bench.surrogate, or "
        "bench.surface(defended, 'adaptive')."
    )


def check_has_surfaces(defended: object, threat_model: object) -> None:
    """Raise SettingsError unless `defended` is something that shows surfaces to attackers."""
    if isinstance(defended, Defended):
        return
    if isinstance(defended, Classifier):
        raise SettingsError(
            f"bench.surface needs a defended model, but {defended.name!r} is a Classifier, which an attacker "
            "differentiates as it is: attack it itself, bench.attack(classifier, 'pgd')."
        )
    raise SettingsError(
        f"bench.surface needs a defended model to show its surface for {str(threat_model)!r}, not "
        f"{type(defended).__name__}: write bench.surface(bench.defend('dustbin'), {str(threat_model)!r})."
    )


def check_profile_fields(changes: Mapping[str, object]) -> None:
    """Raise SettingsError for a field that profiles do not have, with the nearest that they have."""
    known = [field.name for field in fields(Profile)]
    for name in changes.keys() - set(known):
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"it has: {', '.join(known)}."
        raise SettingsError(f"bench.with_profile({name}=...): a profile has no field {name!r}; {hint}")


def check_attack_object(attack: object) -> None:
    """Raise SettingsError unless `attack` is one of the registered kind, whose steps can reach its budget."""
    if not isinstance(attack, Attack):
        raise SettingsError(
            f"an attack is a registered name or a pytest_robust.Attack, not a {type(attack).__name__}: for one of "
            "ART's classes write 'art:NAME', with parameters bench.attack_named('art:NAME', eps=0.1)."
        )
    attack.check()
    step, steps = attack.params.get("eps_step"), attack.params.get("max_iter")
    # Whoever raises the budget alone would see the old budget's figures under the new one's name.
    if attack.eps and step and steps and 0 < step * steps < attack.eps * (1 - 1e-6):
        raise SettingsError(
            f"the attack {attack.name!r} has eps={attack.eps:g}, but {steps} steps of eps_step={step:g} reach only "
            f"{step * steps:g}: raise eps_step or max_iter with it."
        )


def check_defense_object(defense: object) -> None:
    """Raise DefenseError unless `defense` is a frozen dataclass of parameters, derived from `Defense`, with a name."""
    kind = type(defense)
    if not isinstance(defense, Defense):
        raise DefenseError(
            f"a defense is a registered name or an object of a class derived from pytest_robust.Defense, not "
            f"{defense!r}."
        )
    if not isinstance(getattr(defense, "name", None), str):
        raise DefenseError(f"the defense {kind.__name__} has no name: write name: ClassVar[str] = '...' in the class.")
    if not is_dataclass(defense):
        raise DefenseError(
            f"the defense {defense.name!r} is no dataclass: write @dataclass(frozen=True) above class {kind.__name__}."
        )
    if not kind.__dataclass_params__.frozen:
        raise DefenseError(
            f"the defense {defense.name!r} can be changed once it is fitted: write @dataclass(frozen=True) above class "
            f"{kind.__name__}."
        )
    for base in kind.__mro__[: kind.__mro__.index(Defense)]:
        unread = [] if "__dataclass_params__" in vars(base) else _unread(base, {f.name for f in fields(defense)})
        if unread:
            raise DefenseError(
                f"the defense {defense.name!r}: {base.__name__} sets {', '.join(unread)}, which no dataclass reads: "
                f"write @dataclass(frozen=True) above class {base.__name__}."
            )


def _unread(undecorated: type, parameters: set[str]) -> list[str]:
    """What such a class declares as parameters, or sets though it is one of its base's."""
    annotated = {name for name, kind in get_annotations(undecorated).items() if "ClassVar" not in str(kind)}
    return sorted(annotated | (parameters & set(vars(undecorated))))


def check_parameters(named: object, defense: Defense, parameters: Mapping[str, object]) -> None:
    """Raise SettingsError unless `parameters` are those of a defense that was named, not given as an object."""
    if not isinstance(named, str):
        raise SettingsError(
            f"the defense {defense.title!r} has its parameters already: give them to {type(defense).__name__}(...)."
        )
    unknown = [name for name in parameters if name not in defense.parameters]
    if unknown:
        raise SettingsError(
            f"the defense {named!r} has no parameter {unknown[0]!r}; it has: {', '.join(defense.parameters) or 'none'}."
        )


def check_defended(defended: Defended, num_classes: int | None = None) -> None:
    """Raise DefenseError, naming the defense and the field, unless a `Defended` holds what it says.

    Args:
        defended: anybody's.
        num_classes: of the data set it was fitted on; None where that is not known.
    """

    def refuse(field: str, must_be: str, given: object) -> None:
        raise DefenseError(f"the defense {defended.name!r}: Defended.{field} must be {must_be}, not {given}.")

    if not callable(defended.decide_batch):
        refuse("decide_batch", "a function from images to a Decision", type(defended.decide_batch).__name__)
    if not isinstance(defended.device, torch.device):
        refuse("device", f"a torch.device: write torch.device({defended.device!r})", type(defended.device).__name__)
    if not (isinstance(defended.fingerprint, str) and defended.fingerprint):
        refuse("fingerprint", "a text that names all that the decisions depend on", repr(defended.fingerprint))
    if not isinstance(defended.surfaces, Mapping):
        refuse("surfaces", "a mapping from threat models to Classifiers", type(defended.surfaces).__name__)
    for name, surface in defended.surfaces.items():
        if not isinstance(surface, Classifier):
            refuse(f"surfaces[{str(name)!r}]", "a Classifier (surface_of makes one)", type(surface).__name__)
    if num_classes is not None and defended.num_classes != num_classes:
        refuse("num_classes", f"{num_classes}, as the data set has (a dustbin is no class)", defended.num_classes)


def check_evaluated(defended: object, images: object) -> None:
    """Raise SettingsError unless a defended model is to be evaluated on images with labels.

    Raises:
        DefenseError: a field of the defended model holds something else than it says.
    """
    if isinstance(defended, nn.Module):
        raise SettingsError(f"a bare {type(defended).__name__} cannot be evaluated: {WRAP}.")
    if not isinstance(defended, Defended):
        raise SettingsError(
            f"only a defended model or a Classifier can be evaluated, not {defended!r}: bench.defend('dustbin') gives "
            "one."
        )
    check_defended(defended)
    if not isinstance(images, (AdversarialSet, Split)):
        raise SettingsError(
            f"{defended.name!r} is evaluated on a Split or an AdversarialSet, not on a {type(images).__name__}: "
            "bench.attack(...) and bench.test_split give them."
        )
