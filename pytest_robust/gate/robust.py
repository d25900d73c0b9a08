"""Robust: measure a model of one's own on images of one's own, in a line that a test can assert on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from pytest_robust.attacks.adversarial_set import AdversarialSet
from pytest_robust.attacks.attack import Attack
from pytest_robust.attacks.isolation import frozen
from pytest_robust.attacks.objectives import margin, rejection_counts_as
from pytest_robust.bench.bench import Bench
from pytest_robust.data.split import Split
from pytest_robust.diagnosis.diagnose import IMAGES, diagnose
from pytest_robust.diagnosis.diagnosis import Diagnosis
from pytest_robust.errors import SettingsError, TrainModeWarning, UnreliableEvaluationWarning
from pytest_robust.evaluation.rate import CONFIDENCE
from pytest_robust.gate.attacks import attack_of, check_can_attack
from pytest_robust.gate.checks import clean_checks, output_checks, repeat_checks
from pytest_robust.gate.data import split_of
from pytest_robust.gate.gradients import follows_gradients, gradient_signs
from pytest_robust.gate.model_files import FromFile
from pytest_robust.gate.models import Channels, check_classes, classifier_of, load_model
from pytest_robust.gate.reproduce import reproducing
from pytest_robust.gate.result import Figures, Result, nobody
from pytest_robust.models.classifier import Classifier
from pytest_robust.models.threads import suitable_threads
from pytest_robust.store.artifacts import Artifact
from pytest_robust.store.blame import warn_user
from pytest_robust.store.fingerprint import fingerprint
from pytest_robust.threats.defended import Defended, ThreatModel, network_alone


class Robust:
    """Evaluates models, clean and under attack, for tests and notebooks; what it has attacked once it finds again.

    Args:
        bench: device, cache and seed; by default a new one with the default settings.
        root: folder from which relative paths and ``"module:factory"`` are found; the current one by default.
        told: told of every look at a result, as `Result.told`.
    """

    def __init__(
        self,
        bench: Bench | None = None,
        *,
        root: Path | str | None = None,
        told: Callable[[Result, str], None] = nobody,
    ) -> None:
        self.bench = bench or Bench()
        self.root = Path(root or Path.cwd()).absolute()
        self._told = told
        #: What strings named: they are read once.
        self._models: dict[tuple[str, int], Any] = {}
        self._data: dict[str, Split] = {}
        self._resized: WeakKeyDictionary[Split, Split] = WeakKeyDictionary()

    def data(self, data: Any) -> Split:
        """Labelled images of any form as a `Split`, in their own order; the forms are those of `split_of`.

        Raises:
            DataError: it is no such thing, or its images or labels break the contract of a `Split`.
        """
        if not isinstance(data, (str, Path)):
            return split_of(data, self.root)
        if str(data) not in self._data:
            self._data[str(data)] = split_of(data, self.root)
        return self._data[str(data)]

    def model(self, model: Any, data: Any, *, mean: Channels = 0.0, std: Channels = 1.0) -> Classifier:
        """A model of any form as a `Classifier` in eval mode, for what takes one; `evaluate` needs no such step.

        A module of the user's is wrapped and not copied, so it is in eval mode afterwards.

        Args:
            model: an ``nn.Module``, a function from [0, 1] images to logits, a `Classifier`, a TorchScript,
                ``torch.export`` or ONNX file, or ``"module:factory"``.
            data: the images that it is for.
            mean, std: what the images are normalised with before the model sees them: a number, or one per channel.

        Raises:
            ModelError: it cannot be loaded, does not take the images, or does not give logits.
            DataError: the labels are no classes of the model.
        """
        return classifier_of(
            self.load(model), self.data(data), self.bench.device, name=_title(model), mean=mean, std=std
        )

    def evaluate(
        self,
        model: Any,
        data: Any,
        attack: str | Attack | None = None,
        eps: float | str | None = None,
        norm: Any = None,
        *,
        mean: Channels = 0.0,
        std: Channels = 1.0,
        confidence: float = CONFIDENCE,
        **attack_params: Any,
    ) -> Result:
        """The model's accuracy on all images, clean or under a white-box attack.

        A model is evaluated in eval mode; its modes, weight gradients and flags are as before when this returns.

        Args:
            model: as in `model`; a `Defended` as well, which is attacked with its defense in the loss.
            data: as in `split_of`.
            attack: a registered name or an `Attack`; None measures the clean accuracy.
            eps: the budget in units of [0, 1] images, a number or text such as ``"8/255"``.
            norm: "linf", "l2", "l1" or "l0".
            mean, std: as in `model`.
            confidence: of the intervals.
            attack_params: further parameters of the attack: steps, restarts, step_size, or what it calls them itself.

        Raises:
            ModelError, DataError: what is given is no model or no data, or they do not fit each other.
            UnknownNameError: nobody registered the attack; the message holds the nearest name.
            SettingsError: a budget, norm or parameter that cannot be.
            AttackError: the attack cannot run on this model.

        Warns:
            UnreliableEvaluationWarning: the figures are no evidence; `Result.checks` says why.
            TrainModeWarning: the model was in train mode.
        """
        chosen = self._attack(attack, eps, norm, attack_params)
        return self._evaluated(model, data, None, chosen, mean, std, confidence)

    def evaluate_part(
        self,
        index: Tensor,
        model: Any,
        data: Any,
        attack: str | Attack | None = None,
        eps: float | str | None = None,
        norm: Any = None,
        *,
        mean: Channels = 0.0,
        std: Channels = 1.0,
        confidence: float = CONFIDENCE,
        **attack_params: Any,
    ) -> Result:
        """As `evaluate`, of some of the images; whether the model's gradients lead anywhere is still seen on all.

        Args:
            index: positions in the data, int64 of shape (n,), in the result's order.
            model, data, attack, eps, norm, mean, std, confidence, attack_params: as in `evaluate`.

        Raises:
            DataError: a position that no image has; and as `evaluate`.
        """
        chosen = self._attack(attack, eps, norm, attack_params)
        return self._evaluated(model, data, index, chosen, mean, std, confidence)

    def _evaluated(
        self,
        model: Any,
        data: Any,
        index: Tensor | None,
        chosen: Attack | None,
        mean: Channels,
        std: Channels,
        confidence: float,
    ) -> Result:
        if not 0 < confidence < 1:
            raise SettingsError(f"confidence={confidence!r} must lie between 0 and 1: write 0.95.")
        split, loaded = self.data(data), self.load(model)
        with _in_eval_mode(loaded, _title(model)):
            defended = self._defended(loaded, split, _title(model), mean, std)
            whole = self._with_classes(split, defended.num_classes)
            part = whole if index is None else whole.subset(index)
            measured = self._measured(defended, part, chosen, whole)
        settings = {"seed": self.bench.settings.seed, "device": str(defended.device)}
        changed = {"mean": (mean, 0.0), "std": (std, 1.0), "confidence": (confidence, CONFIDENCE)}
        extra = {name: value for name, (value, usual) in changed.items() if not _is(value, usual)}
        line = reproducing(model, data if index is None else part, self.root, chosen, settings, extra)
        normalised = bool(extra.keys() & {"mean", "std"})
        found = _checks(measured, normalised=normalised)
        return replace(measured, reproduce=line, found=found, confidence=confidence)

    def _measured(self, defended: Defended, split: Split, chosen: Attack | None, whole: Split) -> Result:
        """The result, but for what only the caller knows; gradients are examined on the `whole` that `split` is of."""
        surface = defended.surface(ThreatModel.ADAPTIVE)
        if chosen is not None:
            check_can_attack(chosen, surface)
        clean = self.bench.evaluate(defended, split)
        answers, adversarial, attacked = self._answers(surface, split), None, None
        margins, (lowest, highest) = answers["margin"], answers["ends"].tolist()
        masking: tuple[str, ...] = ()
        if chosen is not None:
            adversarial = self.bench.attack(surface, chosen, split)
            if defended.random_by_image:
                adversarial = self.bench.redrawn(defended, adversarial, chosen)
            attacked = self.bench.evaluate(defended, adversarial)
            margins = torch.minimum(margins, self._answers(surface, adversarial)["margin"])
            # Where all images are no evidence already, nobody need look; a part may look worse than all of them do.
            if follows_gradients(chosen) and not (attacked.checks and split is whole):
                masking = gradient_signs(self.bench.store, surface, whole)
        return Result(
            model=defended.name,
            data=split,
            figures=Figures(clean, attacked, adversarial, margins, masking),
            attack=chosen,
            seed=self.bench.settings.seed,
            device=str(defended.device),
            found=output_checks(lowest, highest, len(split)) + repeat_checks(split) + masking,
            told=self._told,
        )

    def diagnose(
        self,
        model: Any,
        data: Any,
        attack: str | Attack = "pgd",
        eps: float | str | None = None,
        norm: Any = None,
        *,
        mean: Channels = 0.0,
        std: Channels = 1.0,
        images: int = IMAGES,
        checks: Iterable[str] | None = None,
        surrogate: Any = None,
        training: Any = None,
        **attack_params: Any,
    ) -> Diagnosis:
        """Signs that an evaluation of the model under the attack is broken, and so better than it should be.

        Args:
            model, data, attack, eps, norm, mean, std, attack_params: as in `evaluate`.
            images: how many, drawn at random, are looked at; more find smaller defects.
            checks: names of the checks to run; None runs all.
            surrogate: an attacker's own model for the check by transfer, of any form, with the same mean and std.
            training: labelled images of any form to train one on, where there is none.

        Raises:
            UnknownNameError: nobody registered the attack, or there is no such check.
            ModelError, DataError, SettingsError: as `evaluate`.

        Warns:
            TrainModeWarning: the model was in train mode.
        """
        chosen = self._attack(attack, eps, norm, attack_params)
        if chosen is None:
            raise SettingsError("a diagnosis needs an attack: write attack='pgd'.")
        split, loaded = self.data(data), self.load(model)
        with _in_eval_mode(loaded, _title(model)):
            defended = self._defended(loaded, split, _title(model), mean, std)
            classes = defended.num_classes
            check_can_attack(chosen, defended.surface(ThreatModel.ADAPTIVE))
            return diagnose(
                self.bench,
                defended,
                self._with_classes(split, classes),
                chosen,
                images=images,
                checks=checks,
                surrogate=None if surrogate is None else self.model(surrogate, split, mean=mean, std=std),
                training=None if training is None else self._with_classes(self.data(training), classes),
            )

    def _attack(self, attack: str | Attack | None, eps: Any, norm: Any, params: dict[str, Any]) -> Attack | None:
        if attack is not None:
            return attack_of(self.bench.registries.attacks, attack, eps, norm, params)
        given = [name for name, value in (("eps", eps), ("norm", norm)) if value is not None] + list(params)
        if given:
            raise SettingsError(f"{', '.join(given)} is for an attack, and none is named: write attack='pgd' with it.")
        return None

    def load(self, model: Any) -> Any:
        """What a string or a path names, loaded once; any other model as it is.

        Raises:
            ModelError: there is no such file or factory, or it fails.
        """
        if not isinstance(model, (str, Path)):
            return model
        path = self.root / Path(model).expanduser()
        key = str(model), path.stat().st_mtime_ns if path.is_file() else 0  # a file may be written anew
        if key not in self._models:
            self._models[key] = load_model(model, self.root, self.bench.device)
        return self._models[key]

    def _defended(self, loaded: Any, split: Split, name: str, mean: Channels, std: Channels) -> Defended:
        if isinstance(loaded, Defended):
            if not (_is(mean, 0.0) and _is(std, 1.0)):
                raise SettingsError(f"{loaded.name!r} normalises its images itself: leave mean and std out.")
            check_classes(split, loaded.num_classes, loaded.name)
            return loaded
        network = classifier_of(loaded, split, self.bench.device, name=name, mean=mean, std=std)
        return network_alone(network, network.name)

    def _with_classes(self, split: Split, num_classes: int) -> Split:
        """The images with as many classes as the model has: labels alone do not tell."""
        if split.num_classes == num_classes:
            return split
        known = self._resized.get(split)
        if known is None or known.num_classes != num_classes:
            known = self._resized[split] = replace(split, num_classes=num_classes)
        return known

    def _answers(self, surface: Classifier, images: Split | AdversarialSet) -> dict[str, Tensor]:
        """What the surface's outputs come to; kept in the store.

        "margin" is how far each label's logit is above the largest other one, float32 of shape (N,); "ends" are the
        lowest and the highest output, float32 of shape (2,).
        """

        def build() -> Artifact:
            with suitable_threads(surface.input_shape, surface.device):
                logits = surface.logits_of(images.x)
            understood = rejection_counts_as(logits, images.y) if surface.rejects else logits
            tensors = {"margin": margin(understood, images.y).float(), "ends": torch.stack(logits.aminmax()).float()}
            return Artifact(tensors, {"surface": surface.name})

        key = fingerprint(["margin", 2, surface.fingerprint, images.fingerprint])
        return self.bench.store.get_or_build("margin", key, build)[0].tensors


@contextmanager
def _in_eval_mode(model: Any, title: str) -> Iterator[None]:
    """Evaluate a user's module in eval mode, say so if it was not, and leave it as it was."""
    if not isinstance(model, nn.Module):
        yield
        return
    if in_train_mode(model):
        warn_user(train_mode_warning(title or type(model).__name__))
    with frozen(model):
        yield


def in_train_mode(model: Any) -> bool:
    """Whether a loaded model is a module that its user has left in train mode."""
    return isinstance(model, nn.Module) and model.training and not isinstance(model, FromFile)


def train_mode_warning(name: str) -> TrainModeWarning:
    """That the model of that name was left so."""
    return TrainModeWarning(
        f"{name} is in train mode: it is evaluated in eval mode and put back; call model.eval() before."
    )


def _checks(measured: Result, *, normalised: bool) -> tuple[str, ...]:
    """All signs that the result is no evidence; warns of those that the attack has not warned of."""
    clean, attacked = measured.figures.clean, measured.figures.attacked
    own = clean_checks(clean.accuracy, measured.data, normalised) + measured.found
    if own:
        where = f"{measured.model} on {measured.data.name}"
        warn_user(UnreliableEvaluationWarning(f"{where}: {'; '.join(own)}."))
    found = own + clean.checks + (() if attacked is None else attacked.checks)
    return tuple(dict.fromkeys(found))  # a sign of both is said once


def _title(model: object) -> str:
    """What a model is called that was named; "" for an object, which has a name of its own."""
    return str(model) if isinstance(model, (str, Path)) else ""


def _is(value: Channels, usual: float) -> bool:
    return isinstance(value, (int, float)) and value == usual
