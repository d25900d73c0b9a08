"""Measuring what a requirement is about: on all images at once, or batch by batch until the verdict is certain."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor

from pytest_robust.attacks.adversarial_set import AdversarialSet
from pytest_robust.attacks.attack import Attack
from pytest_robust.bench.evaluating import checks as evidence_checks
from pytest_robust.bench.evaluating import decision_signs
from pytest_robust.data.split import Split
from pytest_robust.errors import GateError, TrainModeWarning, UnreliableEvaluationWarning
from pytest_robust.evaluation.auroc import Auroc
from pytest_robust.evaluation.detectors import Detection
from pytest_robust.evaluation.evaluation import Evaluation
from pytest_robust.evaluation.rate import Rate
from pytest_robust.evaluation.sequential import SequentialTest
from pytest_robust.evaluation.verdict import Interval, at_least, at_most
from pytest_robust.gate.attacks import attack_of
from pytest_robust.gate.placing import placed
from pytest_robust.gate.requirements import Gate, Requirement
from pytest_robust.gate.result import Result
from pytest_robust.gate.robust import Robust, in_train_mode, train_mode_warning
from pytest_robust.gate.worst import WorstImages, worst_first, worst_images
from pytest_robust.threats.defended import Defended

#: Images in a batch of a sequential measurement (ours): at most 99 too many are attacked, and smaller batches would
#: leave the machine idle.
BATCH = 100
#: Added to the run's seed, so that the order of a sequential measurement shares no random numbers with anything else.
ORDER_SEED = 8_000_003
RULES = {"at_least": at_least, "at_most": at_most}


@dataclass(frozen=True, eq=False)
class Measurement:
    """What was measured for one requirement.

    Args:
        figure: the metric with its interval.
        outcomes: bool per image, in the order of the data, of what the metric counts; None where the metric is no share
            of all images, or not all were looked at.
        data: all images.
        seen: int64 of shape (n,): positions in the data of the images that were looked at, in the results' order.
        worst: indices of the images that the model is worst at, the worst first.
        results: behind it, one per batch.
        checks: why the figure is no evidence, a sentence each.
    """

    figure: Interval
    outcomes: Tensor | None
    data: Split
    seen: Tensor
    worst: list[int]
    results: tuple[Result, ...]
    checks: tuple[str, ...]

    @property
    def used(self) -> int:
        """How many images were looked at."""
        return len(self.seen)

    @property
    def attack(self) -> Attack | None:
        """With all its parameters."""
        return self.results[0].attack

    def worst_images(self) -> WorstImages:
        """Those at `worst`, with the answers to them."""
        return worst_images(self.results, self.seen, self.worst)


class Measurer:
    """Measures requirements of one gate.

    Args:
        gate: with the model and the data.
        robust: evaluates them.
    """

    def __init__(self, gate: Gate, robust: Robust) -> None:
        self.gate, self.robust = gate, robust

    def measure(self, requirement: Requirement, *, all_images: bool = False) -> Measurement:
        """The requirement's metric.

        Args:
            requirement: of the gate.
            all_images: also where it is sequential; a clean metric always takes all, as it costs one pass.

        Raises:
            GateError: the model cannot give the metric.
            RobustError: the model, the data or the attack cannot be used.
        """
        with placed(self.gate, requirement.line):
            measured = self._measure(requirement, all_images=all_images)
        if in_train_mode(self.robust.load(self.gate.model)):
            line = self.gate.lines.get("model", 1)
            warnings.warn_explicit(train_mode_warning(self.gate.model), TrainModeWarning, self.gate.path, line)
        return measured

    def _measure(self, requirement: Requirement, *, all_images: bool) -> Measurement:
        self._check_attack(requirement)
        self._check_gives(requirement)
        possible = requirement.comparison in RULES and requirement.metric in COUNTED and requirement.attack is not None
        if requirement.sequential and possible and not all_images:
            return self._in_batches(requirement)
        return self._at_once(requirement)

    def _at_once(self, requirement: Requirement) -> Measurement:
        data = self.robust.data(self.gate.data)
        result = self._evaluate(requirement)
        figure: Interval
        if requirement.metric == "auroc":
            figure, outcomes = _auroc(result, self.gate.confidence), None
        else:
            counted = COUNTED[requirement.metric](result)
            figure = Rate.of(counted, confidence=self.gate.confidence)
            outcomes = None if requirement.metric == "attack_success_rate" else counted
        return Measurement(figure, outcomes, data, torch.arange(len(data)), result.worst(10), (result,), result.checks)

    def _in_batches(self, requirement: Requirement) -> Measurement:
        """Batches in a random order of fixed seed, until the threshold is certainly met or missed."""
        data, results, seen = self.robust.data(self.gate.data), [], []
        test = SequentialTest(requirement.threshold, RULES[requirement.comparison], self.gate.confidence)
        for index in batches(len(data), self.robust.bench.settings.seed + ORDER_SEED):
            results.append(self._evaluate(requirement, index))
            seen.append(index)
            if test.update(COUNTED[requirement.metric](results[-1])):
                break
        used = torch.cat(seen)
        worst = [int(i) for i in used[worst_first(results)[:10]]]
        joined = evidence_checks(_joined(results, data.subset(used)))
        masking = next((each.figures.masking for each in results if each.figures.masking), ())
        checks = self._clean(requirement).checks + joined + _decided(results) + masking
        return Measurement(test.rate, None, data, used, worst, tuple(results), checks)

    def _clean(self, requirement: Requirement) -> Result:
        """All images as they are: a batch alone is too small to be told from guessing."""
        return self._evaluate(replace(requirement, attack=None, eps=None, norm=None, parameters={}))

    def _evaluate(self, requirement: Requirement, index: Tensor | None = None) -> Result:
        """The requirement's result on the images at `index`, on all of them without one."""
        given: dict[str, Any] = {"mean": self.gate.mean, "std": self.gate.std}
        normalisation = {name: value for name, value in given.items() if value is not None}
        with warnings.catch_warnings():
            # The verdict says it, and fails the build.
            warnings.simplefilter("ignore", UnreliableEvaluationWarning)
            warnings.simplefilter("ignore", TrainModeWarning)  # of the line that names the model, below
            evaluate = self.robust.evaluate if index is None else partial(self.robust.evaluate_part, index)
            return evaluate(
                self.gate.model,
                self.gate.data,
                requirement.attack,
                requirement.eps,
                requirement.norm,
                confidence=self.gate.confidence,
                **normalisation,
                **requirement.parameters,
            )

    def _check_attack(self, requirement: Requirement) -> None:
        """Raise SettingsError for what the attack does not take, before the model and the data are loaded for it."""
        if requirement.attack is None:
            return
        registry = self.robust.bench.registries.attacks
        attack_of(registry, requirement.attack, requirement.eps, requirement.norm, requirement.parameters)

    def _check_gives(self, requirement: Requirement) -> None:
        if requirement.metric == "rejection" and not isinstance(self.robust.load(self.gate.model), Defended):
            raise GateError(
                f"{self.gate.path}:{requirement.line}: the model {self.gate.model!r} never rejects, so it has no "
                'rejection rate: let its factory give a pytest_robust.Defended, or choose the metric "accuracy" or '
                '"error".'
            )


def _joined(results: list[Result], split: Split) -> AdversarialSet:
    """The adversarial images of all batches as one set."""
    parts = [cast(AdversarialSet, result.adversarial) for result in results]
    zero = sum(part.provenance.get("zero_gradient", 0.0) * len(part) for part in parts) / len(split)
    return AdversarialSet(
        replace(split, num_classes=parts[0].clean.num_classes),
        torch.cat([part.x for part in parts]),
        torch.cat([part.success for part in parts]),
        torch.cat([part.unstable for part in parts]),
        provenance={**parts[0].provenance, "zero_gradient": zero},
        right=None if parts[0].right is None else torch.cat([cast(Tensor, part.right) for part in parts]),
    )


def _decided(results: list[Result]) -> tuple[str, ...]:
    """The signs that the decisions of all batches show together."""
    parts = [cast(Evaluation, result.figures.attacked) for result in results]
    total = sum(len(part) for part in parts)
    wavering = sum(part.wavering * len(part) for part in parts) / total
    return decision_signs(wavering, sum(part.drawing * len(part) for part in parts) / total)


def _auroc(result: Result, confidence: float) -> Auroc:
    """Of the suspicion score: how well it tells attacked images from clean ones; both of an original are one image."""
    attacked, clean = cast(Evaluation, result.attacked), result.clean
    groups = torch.arange(len(clean)).repeat(2)
    score = torch.cat([attacked.decision.score, clean.decision.score]).double()
    positive = torch.arange(len(score)) < len(attacked)
    return Detection(positive, positive, score, torch.zeros_like(groups), groups, confidence).auc


def _error(result: Result) -> Tensor:
    """Answered wrongly, clean or attacked: the attacker may hand in either image."""
    clean = result.clean.wrong
    return clean if result.attacked is None else clean | result.attacked.wrong


def _rejection(result: Result) -> Tensor:
    return (result.attacked or result.clean).decision.rejected


def _success(result: Result) -> Tensor:
    """Of the correctly classified images alone, as `Result.attack_success_rate`."""
    return cast(Evaluation, result.attacked).wrong[result.clean.correct]


#: What each metric counts: from a result to bool per image.
COUNTED: Mapping[str, Callable[[Result], Tensor]] = {
    "accuracy": lambda result: result.correct,
    "error": _error,
    "rejection": _rejection,
    "attack_success_rate": _success,
}


def batches(size: int, seed: int) -> Iterator[Tensor]:
    """The positions 0 .. size - 1 in a random order of fixed seed, `BATCH` at a time."""
    yield from torch.randperm(size, generator=torch.Generator().manual_seed(seed)).split(BATCH)
