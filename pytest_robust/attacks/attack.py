"""An Attack: a registered, named factory of a configured ART ``EvasionAttack``, with its budget and norm."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal

from pytest_robust.errors import AttackError, SettingsError
from pytest_robust.models.classifier import Classifier

Norm = Literal["linf", "l2", "l1", "l0"]
Target = Literal["least_likely", "most_likely"]


@dataclass(frozen=True)
class Attack:
    """A named, configured attack; it becomes an ART object when it is built for a classifier.

    Args:
        name: the name under which it is registered.
        implementation: ``"module:Class"`` of an ART ``EvasionAttack``; imported when the attack is built.
        params: ART's own argument names and their values.
        norm: norm in which its budget or its distance is measured; None if it has none.
        target: None is untargeted; otherwise which wrong class each image is pushed to, by the surface's logits
            on the clean image: its least likely class, or its most likely wrong one.
        gradient_calls: how many times it asks the surface for a gradient per image, at most; 0 is gradient-free.
        reference: the paper.
    """

    name: str
    implementation: str
    params: Mapping[str, Any] = field(default_factory=dict)
    norm: Norm | None = "linf"
    target: Target | None = None
    gradient_calls: int = 1
    reference: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "params", MappingProxyType(dict(self.params)))

    @property
    def eps(self) -> float | None:
        """The budget ε in units of [0, 1] images; None for an attack that looks for the smallest perturbation."""
        value = self.params.get("eps")
        return None if value is None else float(value)

    @property
    def targeted(self) -> bool:
        """Whether it pushes towards a class instead of away from the label."""
        return self.target is not None

    @property
    def title(self) -> str:
        """Name and parameters, as people read it: ``pgd(eps=0.1, max_iter=40)``."""
        inside = ", ".join(f"{k}={v:g}" if isinstance(v, float) else f"{k}={v}" for k, v in self.params.items())
        return f"{self.name}({inside})"

    def configured(self, **params: Any) -> Attack:
        """The same attack with some parameters changed (``target`` as well).

        Raises:
            SettingsError: a parameter that the implementation does not take, or a budget outside (0, 1] in L∞.
        """
        target = params.pop("target", self.target)
        known = set(self.art_class().attack_params) | set(self.params)
        for name in params:
            if name not in known:
                raise SettingsError(
                    f"the attack {self.name!r} takes no parameter {name!r}; it takes: {', '.join(sorted(known))}."
                )
        changed = replace(self, params={**self.params, **params}, target=target)
        if changed.eps is not None and self.norm == "linf" and not 0 < changed.eps <= 1:
            raise SettingsError(
                f"the attack {self.name!r} has eps={changed.eps:g}, but images are in [0, 1], so an L∞ budget is in "
                "(0, 1]: write 8/255, not 8."
            )
        return changed

    def art_class(self) -> Any:
        """The ART ``EvasionAttack`` class behind the name."""
        module, _, attribute = self.implementation.partition(":")
        return getattr(importlib.import_module(module), attribute)

    def build(self, classifier: Classifier, **overrides: Any) -> Any:
        """The configured ART ``EvasionAttack`` object against `classifier`.

        Raises:
            AttackError: ART refuses the parameters.
        """
        params: dict[str, Any] = {**self.params, **overrides}
        art_class = self.art_class()
        for name, value in (("targeted", self.targeted), ("verbose", False)):
            if name in art_class.attack_params:
                params.setdefault(name, value)
        try:
            return art_class(classifier.art_estimator(), **params)
        except (TypeError, ValueError) as error:
            raise AttackError(f"the attack {self.title} cannot be built: {error}") from error
