"""An Attack: a registered, named factory of a configured ART ``EvasionAttack``, with its budget and norm."""

from __future__ import annotations

import difflib
import importlib
import inspect
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from numbers import Integral, Real
from types import MappingProxyType
from typing import Any, Literal

from pytest_robust.attacks.batching import comfortable_batch
from pytest_robust.attacks.isolation import current_device, frozen, seeded
from pytest_robust.errors import AttackError, SettingsError
from pytest_robust.models.classifier import Classifier

Norm = Literal["linf", "l2", "l1", "l0"]
#: A rule; or "label+K", the class K after the label, counted around; or "likely+K", the K-th likeliest wrong class.
Target = Literal["least_likely", "most_likely"] | str

#: ART's names of norms.
NORMS: Mapping[str, Norm] = {"inf": "linf", "2": "l2", "1": "l1"}
#: Parameters that count something, and their least value.
WHOLE: Mapping[str, int] = {"max_iter": 1, "num_random_init": 0, "batch_size": 1, "seed": 0, "nb_grads": 1}
COUNTED = re.compile(r"(label|likely)\+([1-9]\d*)")
#: Parameters that say how an attack is run and not what it does; `Attack.title` leaves them out.
HOUSEKEEPING = frozenset({"batch_size", "verbose", "summary_writer", "seed"})


@dataclass(frozen=True)
class Attack:
    """A named, configured attack; it becomes an ART object when it is built for a classifier.

    Args:
        name: the name under which it is registered.
        implementation: ``"module:Class"`` of an ART ``EvasionAttack``; imported when the attack is built.
        params: ART's own argument names and their values. A ``batch_size`` of None is chosen for the machine.
        norm: norm in which its budget or its distance is measured; None if it has none.
        target: None is untargeted; otherwise which wrong class each image is pushed to, by the surface's logits
            on the clean image: its "least_likely" class, its "most_likely" wrong one, or "likely+3", the third; or by
            its label: "label+3" is the class three after it, counted around, so that K - 1 attacks reach all wrong
            classes.
        gradient_calls: how many times it asks the surface for a gradient in an iteration; 0 is gradient-free.
        reference: the paper.
        iterations: names of the parameters whose product is the number of iterations.
    """

    name: str
    implementation: str
    params: Mapping[str, Any] = field(default_factory=dict)
    norm: Norm | None = "linf"
    target: Target | None = None
    gradient_calls: int = 1
    reference: str = ""
    iterations: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "params", MappingProxyType(dict(self.params)))

    @property
    def eps(self) -> float | None:
        """The budget ε in units of [0, 1] images; None for an attack that looks for the smallest perturbation."""
        value = self.params.get("eps")
        return float(value) if isinstance(value, (int, float)) else None

    @property
    def budget(self) -> float | None:
        """What limits it, in the unit of its own parameter; None: nothing does, so that it can fool every image.

        ε; the largest distance at which an attack that stops early still counts (`max_l2`); the largest strength of
        noise or blur (`largest`); the share of an image's values that JSMA may change (`gamma`), unless that is all.
        """
        gamma = self.params.get("gamma") if self.norm == "l0" else None
        limits = [
            self.eps,
            self.params.get("max_l2"),
            # Of a search along gradients, it is where the search gives up: it should have found something by then.
            None if self.gradient_calls else self.params.get("largest"),
            gamma if isinstance(gamma, Real) and gamma < 1 else None,
        ]
        return next((float(limit) for limit in limits if isinstance(limit, Real)), None)

    @property
    def targeted(self) -> bool:
        """Whether it pushes towards a class instead of away from the label."""
        return self.target is not None

    @property
    def total_gradient_calls(self) -> int:
        """How many times it asks the surface for a gradient per image, at most."""
        return self.gradient_calls * math.prod(max(1, int(self.params.get(name, 1))) for name in self.iterations)

    @property
    def title(self) -> str:
        """Name and parameters, as people read it: ``pgd(norm=inf, eps=0.1, eps_step=0.01, max_iter=40)``."""
        shown = {k: v for k, v in self.params.items() if k not in HOUSEKEEPING}
        if self.target is not None:
            shown["target"] = self.target
        inside = ", ".join(f"{k}={v:g}" if isinstance(v, float) else f"{k}={v}" for k, v in shown.items())
        return f"{self.name}({inside})"

    def configured(self, **params: Any) -> Attack:
        """The same attack with some parameters changed (``target`` as well).

        Raises:
            SettingsError: a parameter that the implementation does not take, or a budget outside (0, 1] in L∞.
        """
        target = params.pop("target", self.target)
        for name in params:
            self._check_parameter(name)
        changed = replace(self, params={**self.params, **params}, target=target, norm=self._norm_after(params))
        if not (target in (None, "least_likely", "most_likely") or COUNTED.fullmatch(str(target))):
            raise SettingsError(
                f"the attack {self.name!r} has target={target!r}; it must be None, 'least_likely', 'most_likely', "
                "'likely+K' or 'label+K' with K from 1."
            )
        changed.check()
        return changed

    def art_class(self) -> Any:
        """The ART ``EvasionAttack`` class behind the name.

        Raises:
            AttackError: it needs a package that is not installed.
        """
        module, _, attribute = self.implementation.partition(":")
        try:
            return getattr(importlib.import_module(module), attribute)
        except ImportError as error:
            raise self._missing(error) from error

    def build(self, classifier: Classifier, **overrides: Any) -> Any:
        """The configured ART ``EvasionAttack`` object against `classifier`.

        Besides ART's ``generate`` it has ``perturb(x, y) -> Tensor``, from images and labels (targets, where the attack
        is targeted) as tensors. ART's own attacks, and others with ``generate`` alone, get it from `Adapted`.

        Raises:
            AttackError: the parameters are refused, or a package is missing.
        """
        params: dict[str, Any] = {**self.params, **overrides}
        art_class = self.art_class()
        accepted = inspect.signature(art_class.__init__).parameters
        seed = params.pop("seed", 0)
        defaults = {"targeted": self.targeted, "verbose": False, "seed": seed}
        params = {**{k: v for k, v in defaults.items() if k in accepted}, **params}
        if "batch_size" in accepted:
            params["batch_size"] = params.get("batch_size") or comfortable_batch(
                classifier.input_shape, classifier.device
            )
        if self.targeted and "targeted" not in accepted:
            raise AttackError(f"the attack {self.name!r} cannot be targeted; leave target out.")
        try:
            # Some constructors of ART's already ask the model, which sets its mode and draws random numbers.
            with current_device(classifier.device), frozen(classifier), seeded(seed, classifier.device):
                built = art_class(classifier.art_estimator(), **params)
        except (TypeError, ValueError) as error:
            raise AttackError(f"the attack {self.title} cannot be built: {error}") from error
        except ImportError as error:
            raise self._missing(error) from error
        if hasattr(built, "perturb"):
            return built
        self._check_understands(classifier)
        from pytest_robust.attacks.adapter import Adapted

        return Adapted(built, name=self.name, targeted=self.targeted, seed=seed)

    def _check_understands(self, classifier: Classifier) -> None:
        """ART's attacks know logits alone: a surface that rejects, or has its own loss, would be attacked weakly."""
        if (classifier.rejects and not self.targeted) or (classifier.attack_loss is not None and self.gradient_calls):
            raise AttackError(
                f"the attack {self.name!r} is ART's and knows neither rejection nor a loss of the surface's own, so "
                f"against {classifier.name!r} it would look weaker than it is: choose one of this package's attacks."
            )

    def _check_parameter(self, name: str) -> None:
        if name == "targeted":
            raise SettingsError(
                f"the attack {self.name!r}: say which class to reach, target='least_likely' or 'most_likely', "
                "instead of targeted."
            )
        if name in self.params:
            return
        # Only now is the implementation imported, and with it ART, which takes seconds.
        accepted = set(inspect.signature(self.art_class().__init__).parameters)
        known = (accepted - {"self", "estimator", "classifier", "targeted"}) | set(self.params)
        if name not in known:
            # Who asks for a budget does not mean DeepFool's epsilon, which is an overshoot.
            near = [] if name == "eps" else difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.6)
            hint = f"did you mean {near[0]!r}? It" if near else "it"
            raise SettingsError(
                f"the attack {self.name!r} takes no parameter {name!r}; {hint} takes: {', '.join(sorted(known))}."
            )

    def _norm_after(self, params: Mapping[str, Any]) -> Norm | None:
        if "norm" not in params:
            return self.norm
        name = str(params["norm"]).removesuffix(".0")
        if name not in NORMS:
            raise SettingsError(f"the attack {self.name!r} has norm={params['norm']!r}; it must be 'inf', 2 or 1.")
        return NORMS[name]

    def check(self) -> None:
        """Raise SettingsError for a number that is none, or a budget that images in [0, 1] cannot have."""
        given = {name: self.params[name] for name in ("eps", "eps_step", *WHOLE) if self.params.get(name) is not None}
        for name, value in given.items():
            if isinstance(value, bool) or not isinstance(value, Real):
                raise SettingsError(
                    f"the attack {self.name!r} has {name}={value!r}; write a number, 8/255 and not '8/255'."
                )
            if name in WHOLE and not (isinstance(value, Integral) and int(value) >= WHOLE[name]):
                raise SettingsError(
                    f"the attack {self.name!r} has {name}={value!r}; it is a whole number from {WHOLE[name]}."
                )
        if self.eps is None:
            return
        if self.norm == "linf" and 1 < self.eps < math.inf:
            raise SettingsError(
                f"the attack {self.name!r} has eps={self.eps:g}, but images are in [0, 1], so an L∞ budget is in "
                "(0, 1]: write 8/255, not 8."
            )
        if not 0 < self.eps < math.inf:
            raise SettingsError(f"the attack {self.name!r} has eps={self.eps:g}; a budget is positive and finite.")

    def _missing(self, error: ImportError) -> AttackError:
        package = (error.name or "").partition(".")[0]
        mend = f"run: pip install {package}" if package else "check its implementation"
        return AttackError(f"the attack {self.name!r} ({self.implementation}) cannot be imported: {error}; {mend}.")
