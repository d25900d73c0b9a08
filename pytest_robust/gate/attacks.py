"""An attack as a user of the gate writes it: a name, ε as a number or a fraction, a norm, steps and restarts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from numbers import Integral, Real
from typing import Any

from pytest_robust.attacks.attack import HOUSEKEEPING, NORMS, WHOLE, Attack, Norm
from pytest_robust.errors import SettingsError
from pytest_robust.models.classifier import Classifier
from pytest_robust.registry import Registry

#: Words of the field, and the names that ART's attacks have for them; the first that an attack knows is meant.
WORDS: Mapping[str, tuple[str, ...]] = {
    "steps": ("max_iter",),
    "restarts": ("num_random_init", "nb_random_init", "nb_restarts"),
    "step_size": ("eps_step",),
}
#: A step of at least this share of ε over the number of steps, as Madry et al. 2018 chose it, can cross the ball.
CROSSING = 2.5


def attack_of(
    registry: Registry[Any], attack: str | Attack, eps: float | str | None, norm: Any, params: Mapping[str, Any]
) -> Attack:
    """The configured attack.

    A step size that is not given follows ε: in the registered attack's proportion, and always large enough for the
    steps to cross the ball.

    Args:
        registry: of attacks.
        attack: a registered name or an `Attack`.
        eps: the budget, a number or text such as ``"8/255"``; None is the registered one.
        norm: "linf", "l2", "l1" or "l0" (or inf, 2, 1); None is the registered one.
        params: further parameters, by ART's names or as steps, restarts and step_size; a step size may be text as well.

    Raises:
        UnknownNameError: nobody registered the name; the message holds the nearest one.
        SettingsError: an ε that cannot be, a norm that the attack does not have, or a parameter it does not take.
    """
    chosen: Attack = registry.get(attack) if isinstance(attack, str) else attack
    if not isinstance(chosen, Attack):
        raise SettingsError(f"an attack is a registered name or a pytest_robust.Attack, not {chosen!r}.")
    for name, value in params.items():
        _check_number(chosen, name, value)
    given = {_art_name(chosen, name): value for name, value in params.items()}
    if isinstance(given.get("eps_step"), str):
        word = "step_size" if "step_size" in params else "eps_step"
        given["eps_step"] = number(given["eps_step"], f"the attack {chosen.name!r}: {word}")
    if eps is not None:
        given["eps"] = number(eps, f"the attack {chosen.name!r}: eps")
    if norm is not None:
        given |= _norm(chosen, norm, given)
    if "eps" in given and "eps_step" in chosen.params and "eps_step" not in given:
        given["eps_step"] = _step(chosen, given)
    elif "max_iter" in given and "eps_step" in chosen.params and "eps_step" not in given and chosen.eps:
        given["eps_step"] = _step(chosen, {**given, "eps": chosen.eps})
    return chosen.configured(**given) if given else chosen


def parameters_of(registry: Registry[Any], name: str) -> frozenset[str]:
    """The names of the parameters that a registered attack takes, with our words for them.

    Raises:
        UnknownNameError: nobody registered it.
    """
    attack: Attack = registry.get(name)
    words = {word for word, meant in WORDS.items() if any(each in attack.params for each in meant)}
    return frozenset({*attack.params, *words, "target"} - HOUSEKEEPING)


def check_parameter(registry: Registry[Any], name: str, key: str, value: Any) -> None:
    """Raise SettingsError for a value that a parameter of a registered attack cannot have, whatever the others are.

    Raises:
        UnknownNameError: nobody registered the attack.
    """
    attack_of(registry, name, None, None, {key: value})


def check_can_attack(attack: Attack, surface: Classifier) -> None:
    """Raise SettingsError if `attack` asks for gradients that the model cannot give."""
    reason = next(
        (m.no_gradients for m in surface.modules() if isinstance(getattr(m, "no_gradients", None), str)), None
    )
    if reason is not None and attack.gradient_calls:
        raise SettingsError(
            f"{reason}, so {attack.name!r} cannot attack {surface.name}: choose a gradient-free attack (square, "
            "hopskipjump, boundary), or give the PyTorch model."
        )


def number(value: float | str, where: str) -> float:
    """A number, or one that is written as a fraction ("8/255").

    Raises:
        SettingsError: it is neither.
    """
    try:
        if isinstance(value, bool):
            raise ValueError
        found = float(Fraction(value.replace(" ", ""))) if isinstance(value, str) else float(value)
    except (ValueError, TypeError, ZeroDivisionError):
        raise SettingsError(f"{where}={value!r} is no number: write 0.03 or '8/255'.") from None
    if not math.isfinite(found):
        raise SettingsError(f"{where}={value!r} is not finite: write 0.03 or '8/255'.")
    return found


def norm_name(norm: Any) -> Norm:
    """ "linf", "l2", "l1" or "l0" of what people write for it.

    Raises:
        SettingsError: it is no norm.
    """
    text = str(norm).lower().removesuffix(".0").removeprefix("l").replace("∞", "inf")
    known: dict[str, Norm] = {**NORMS, "0": "l0"}
    if text not in known:
        raise SettingsError(f"norm={norm!r} is no norm: choose 'linf', 'l2', 'l1' or 'l0'.")
    return known[text]


def _art_name(attack: Attack, name: str) -> str:
    for candidate in WORDS.get(name, ()):
        if candidate in attack.params:
            return candidate
    return name


def _check_number(attack: Attack, name: str, value: Any) -> None:
    """Raise SettingsError for no number where there was one, and for counts of nothing, in the user's own word.

    What is a parameter but for its name, `Attack.check` judges.
    """
    art, where = _art_name(attack, name), f"the attack {attack.name!r}: {name}={value!r}"
    usual = attack.params.get(art)
    if value is None and usual is None:
        return
    numeric = isinstance(usual, Real) and not isinstance(usual, bool) and art not in ("norm", "eps")
    if art == "eps_step" and isinstance(value, str):  # a fraction, perhaps
        numeric = False
    if (numeric or name == "restarts" or art in WHOLE) and (not isinstance(value, Real) or isinstance(value, bool)):
        example = 1 if name == "restarts" or usual is None else usual
        raise SettingsError(f"{where} is no number: write {example}, without quotes or brackets.")
    if name == "restarts" and value < 1:
        also = f", or {art}=0 to start from the image itself" if "init" in art else ""
        raise SettingsError(f"{where} would attack nothing: write 1 or more{also}.")
    if art in WHOLE and not (isinstance(value, Integral) and int(value) >= WHOLE[art]):
        raise SettingsError(f"{where} must be a whole number from {WHOLE[art]}.")


def _norm(attack: Attack, norm: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """The parameter that sets the norm, where it is not the attack's already."""
    name = norm_name(norm)
    if name == attack.norm:
        return {}
    spelling = next((art for art, ours in NORMS.items() if ours == name), None)
    if "norm" not in attack.params or spelling is None:
        raise SettingsError(
            f"the attack {attack.name!r} works in {attack.norm or 'no norm'}, not in {name}: leave norm out, or choose "
            "another attack."
        )
    if attack.eps is not None and "eps" not in given:
        raise SettingsError(
            f"the attack {attack.name!r} in {name} needs its budget: its eps={attack.eps:g} is one in {attack.norm}."
        )
    return {"norm": spelling if spelling == "inf" else int(spelling)}


def _step(attack: Attack, given: Mapping[str, Any]) -> float:
    eps, steps = float(given["eps"]), given.get("max_iter", attack.params.get("max_iter"))
    step = float(attack.params["eps_step"]) * eps / attack.eps if attack.eps else eps
    if isinstance(steps, int) and steps > 0:
        step = max(step, CROSSING * eps / steps)
    return min(step, eps) if eps > 0 else step
