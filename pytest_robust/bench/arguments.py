"""What a user may hand to the bench by mistake, and the sentence that says what to hand it instead."""

from __future__ import annotations

from dataclasses import is_dataclass

from torch import nn

from pytest_robust.attacks.adversarial_set import AdversarialSet
from pytest_robust.attacks.attack import Attack
from pytest_robust.bench.defense import Defense
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


def check_evaluated(defended: object, images: object) -> None:
    """Raise SettingsError unless a defended model is to be evaluated on images with labels."""
    if isinstance(defended, nn.Module):
        raise SettingsError(f"a bare {type(defended).__name__} cannot be evaluated: {WRAP}.")
    if not isinstance(defended, Defended):
        raise SettingsError(
            f"only a defended model or a Classifier can be evaluated, not {defended!r}: bench.defend('dustbin') gives "
            "one."
        )
    if not isinstance(images, (AdversarialSet, Split)):
        raise SettingsError(
            f"{defended.name!r} is evaluated on a Split or an AdversarialSet, not on a {type(images).__name__}: "
            "bench.attack(...) and bench.test_split give them."
        )
