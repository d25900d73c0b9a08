"""A Result: what `Robust.evaluate` found, with the rates to assert on and the words that explain them."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, SupportsFloat

import torch
from torch import Tensor

from pytest_robust.attacks.adversarial_set import AdversarialSet
from pytest_robust.attacks.attack import HOUSEKEEPING, Attack
from pytest_robust.data.split import Split
from pytest_robust.errors import SettingsError
from pytest_robust.evaluation.evaluation import Evaluation
from pytest_robust.evaluation.rate import CONFIDENCE, Rate
from pytest_robust.evaluation.verdict import Judgement, Verdict, at_least, at_most
from pytest_robust.gate.toml_values import demanded
from pytest_robust.gate.worst import WorstImages, worst_first, worst_images

#: Characters of a value that pytest shows in full where an assertion fails.
SHOWN = 230
#: What the field and other libraries call attributes of a result.
MEANT: Mapping[str, str] = {
    "robust_accuracy": "accuracy",
    "adversarial_accuracy": "accuracy",
    "success_rate": "attack_success_rate",
}


def nobody(_result: Result, _looked_at: str) -> None:
    """Who is told that a result was looked at, where nobody is."""


@dataclass(frozen=True, eq=False)
class Figures:
    """What a result was computed from; a test reads the attributes of `Result`, which tell that they were looked at.

    Args:
        clean, attacked, adversarial, margins: as of `Result`.
        masking: the sign that the attack followed gradients which lead nowhere, a sentence, seen on all of the data.
    """

    clean: Evaluation
    attacked: Evaluation | None
    adversarial: AdversarialSet | None
    margins: Tensor
    masking: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False, repr=False)
class Result:
    """One evaluation of a model, clean or under an attack.

    Every tensor has an entry per image, in the order of the user's data.

    Args:
        model: its name.
        data: the images and their labels.
        figures: behind every attribute.
        attack: with all its parameters; None where nobody attacked.
        seed: of every random draw.
        device: that it was computed on.
        reproduce: a line that does it again.
        found: what is wrong with the evaluation itself, a sentence each.
        confidence: of the intervals.
        told: told which attribute was looked at; how the plugin knows what a test has asserted on.
    """

    model: str
    data: Split
    figures: Figures
    attack: Attack | None
    seed: int
    device: str
    reproduce: str = ""
    found: tuple[str, ...] = ()
    confidence: float = CONFIDENCE
    told: Callable[[Result, str], None] = field(default=nobody)

    def __len__(self) -> int:
        return len(self.data)

    @property
    def clean(self) -> Evaluation:
        """The decisions on the images as they are."""
        self.told(self, "clean")
        return self.figures.clean

    @property
    def attacked(self) -> Evaluation | None:
        """The decisions on the perturbed images; None where nobody attacked."""
        self.told(self, "attacked")
        return self.figures.attacked

    @property
    def adversarial(self) -> AdversarialSet | None:
        """The perturbed images; None where nobody attacked."""
        self.told(self, "adversarial")
        return self.figures.adversarial

    @property
    def margins(self) -> Tensor:
        """Float32 of shape (N,): the label's logit minus the largest other one, negative where the model is wrong.

        On the attacked images; on the clean ones where nobody attacked.
        """
        self.told(self, "margins")
        return self.figures.margins

    @property
    def correct(self) -> Tensor:
        """Bool of shape (N,): answered correctly clean, and under the attack as well where there is one.

        The clean image is one that the attacker may hand in, so an image that is misclassified as it is counts as
        wrong, whatever an attack makes of it.
        """
        self.told(self, "correct")
        return self._correct

    @cached_property
    def _correct(self) -> Tensor:
        clean, attacked = self.figures.clean, self.figures.attacked
        return clean.correct if attacked is None else clean.correct & attacked.correct

    @property
    def accuracy(self) -> Rate:
        """Robust accuracy over all images, or clean accuracy where nobody attacked."""
        self.told(self, "accuracy")
        return self._rate(self._correct)

    @property
    def clean_accuracy(self) -> Rate:
        """The share of the images as they are that the model answers with the true label."""
        self.told(self, "clean_accuracy")
        return self._rate(self.figures.clean.correct)

    @property
    def attack_success_rate(self) -> Rate | None:
        """The share of the correctly classified images that the attack gets a wrong answer for; None without attack."""
        self.told(self, "attack_success_rate")
        if self.figures.attacked is None:
            return None
        return self._rate(self.figures.attacked.wrong[self.figures.clean.correct])

    @property
    def norms(self) -> Mapping[str, Tensor]:
        """Sizes of the perturbations, float32 (N,), by norm ("l0", "l1", "l2", "linf"); empty without attack."""
        self.told(self, "norms")
        return {} if self.figures.adversarial is None else self.figures.adversarial.norms

    @property
    def checks(self) -> tuple[str, ...]:
        """Why the figures are no evidence, a sentence each; empty when nothing speaks against them."""
        self.told(self, "checks")
        return self.found

    @property
    def reliable(self) -> bool:
        """Whether no check was raised."""
        return not self.checks

    def at_least(self, threshold: float) -> Judgement:
        """Whether the accuracy is at least `threshold`, judged on its interval; unreliable where a check was raised.

        It fails all the same where it would fail: a broken attack makes a model look stronger and never weaker.

        Raises:
            SettingsError: the threshold is no share in (0, 1]; at least 0 is every accuracy.
        """
        self.told(self, "at_least")
        judgement = at_least(self._rate(self._correct), _share("at_least", threshold))
        return judgement if judgement.verdict is Verdict.FAILS else self._if_reliable(judgement)

    def at_most(self, threshold: float) -> Judgement:
        """Whether the accuracy is at most `threshold`, judged on its interval; unreliable where a check was raised.

        Raises:
            SettingsError: the threshold is no share in [0, 1); at most 1 is every accuracy.
        """
        self.told(self, "at_most")
        return self._if_reliable(at_most(self._rate(self._correct), _share("at_most", threshold)))

    def worst(self, count: int = 10) -> list[int]:
        """Indices, in the user's data, of the images that the model is worst at, the worst first.

        First those that the attack has taken, right as they are and no longer, then those that were wrong before, then
        those that stay right; among their like by the margin, the most wrong answer first. For an attack without a
        budget, which looks for the smallest perturbation, those that it has taken are in the order of its size.
        """
        self.told(self, "worst")
        return self._worst(count)

    def _worst(self, count: int) -> list[int]:
        return [int(i) for i in self._order[:count]]

    def worst_images(self, count: int = 10) -> WorstImages:
        """Those at `worst`, with the answers to them; `draw_worst_images` draws them."""
        self.told(self, "worst")
        return self.worst_shown(count)

    def worst_shown(self, count: int = 10) -> WorstImages:
        """As `worst_images`, for reports: nobody asserts on what they show, so nobody is told."""
        return worst_images([self], torch.arange(len(self)), self._worst(count))

    @cached_property
    def _order(self) -> Tensor:
        return worst_first([self])

    @property
    def title(self) -> str:
        """``robust accuracy 0.410 (41/100, 95% CI 0.313–0.513) under pgd(norm=inf, …)``."""
        rate = self._rate(self._correct)
        if self.attack is None:
            return f"clean accuracy {rate}"
        return f"robust accuracy {rate} under {self.attack.title}"

    def explain(self) -> str:
        """Everything that a failed assertion needs, in a few lines."""
        attack = self.attack
        lines = [
            f"{self.model} on {self.data.name}, {len(self)} images",
            f"  {'robust' if attack else 'clean'} accuracy: {self._rate(self._correct)}",
        ]
        if attack is not None and self.figures.attacked is not None:
            lines += [
                f"  clean accuracy: {self._rate(self.figures.clean.correct)}",
                f"  attack success rate: {self._rate(self.figures.attacked.wrong[self.figures.clean.correct])}",
                f"  attack: {_in_full(attack)}",
            ]
            if attack.norm is not None and self.figures.adversarial is not None:
                sizes = self.figures.adversarial.norms[attack.norm]
                lines.append(f"  median perturbation: {float(sizes.median()):.4g} in {attack.norm}")
        lines += [
            f"  seed: {self.seed}, device: {self.device}",
            f"  worst images: {', '.join(map(str, self._worst(10)))}",
            f"  to reproduce: {self.reproduce}",
            *(f"  UNRELIABLE: {check}" for check in self.found),
        ]
        return "\n".join(lines)

    def as_dict(self) -> dict[str, Any]:
        """Figures and settings as plain data."""
        self.told(self, "as_dict")
        return self.described()

    def described(self) -> dict[str, Any]:
        """As `as_dict`, for reports: nobody asserts on what they show, so nobody is told."""
        rate = self._rate(self._correct)
        figures = {"value": rate.value, "lower": rate.lower, "upper": rate.upper, "n": rate.n}
        clean = self._rate(self.figures.clean.correct).value
        attacked = {} if self.figures.attacked is None else {"clean_accuracy": clean}
        return {
            "model": self.model,
            "data": self.data.name,
            "data_fingerprint": self.data.fingerprint,
            "attack": None if self.attack is None else self.attack.name,
            "parameters": {} if self.attack is None else {k: _plain(v) for k, v in self.attack.params.items()},
            "norm": None if self.attack is None else self.attack.norm,
            "accuracy": figures,
            **attacked,
            "confidence": self.confidence,
            "worst": self._worst(10),
            "seed": self.seed,
            "device": self.device,
            "checks": list(self.found),
        }

    def __getattr__(self, name: str) -> Any:
        """Raise AttributeError for a name that a result has not, with the one that is meant."""
        if name.startswith("_") or hasattr(type(self), name):
            return object.__getattribute__(self, name)  # what is missing is inside it
        names = [each for each in dir(type(self)) if not each.startswith("_")]
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
        meant = MEANT.get(name, near[0] if near else "")
        hint = f"did you mean result.{meant}?" if meant else f"it has: {', '.join(names)}."
        raise AttributeError(f"a result has no {name!r}; {hint}", name=name, obj=self)

    def __repr__(self) -> str:
        """Short enough for pytest to show it whole; `explain` says the rest."""
        checks = f", UNRELIABLE: {self.found[0]}" if self.found else ""
        text = f"Result({self.title}, seed {self.seed}{checks})"
        return text if len(text) <= SHOWN else f"{text[: SHOWN - 2]}…)"

    def __str__(self) -> str:
        return self.explain()

    def _rate(self, mask: Tensor) -> Rate:
        return Rate.of(mask, confidence=self.confidence)

    def _if_reliable(self, judgement: Judgement) -> Judgement:
        if not self.found or judgement.verdict is Verdict.INCONCLUSIVE:
            return judgement
        return Judgement(Verdict.UNRELIABLE, "; ".join(self.found))


def _share(method: str, threshold: Any) -> float:
    """A threshold as robust.toml would take it."""
    try:
        number = isinstance(threshold, SupportsFloat) and not isinstance(threshold, bool)  # NumPy's and torch's as well
        return demanded(method, float(threshold) if number else threshold)
    except ValueError as error:
        raise SettingsError(f"result.{method}({threshold!r}): {error}.") from None


def _in_full(attack: Attack) -> str:
    """The attack with every parameter that changes what it does."""
    shown = {k: v for k, v in attack.params.items() if k not in HOUSEKEEPING}
    if attack.target is not None:
        shown["target"] = attack.target
    return f"{attack.name}({', '.join(f'{k}={v!r}' for k, v in shown.items())})"


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, (int, float, bool, str)) else str(value)
