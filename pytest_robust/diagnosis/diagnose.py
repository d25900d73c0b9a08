"""Diagnosing: from a bench, a model, images and an attack to a Diagnosis."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from functools import cache

from pytest_robust.attacks.attack import Attack
from pytest_robust.bench.arguments import check_attack_object, check_evaluated
from pytest_robust.bench.bench import SURROGATE_SEED, Bench
from pytest_robust.bench.profile import profile_for
from pytest_robust.data.split import Split
from pytest_robust.diagnosis.budgets import with_budget
from pytest_robust.diagnosis.diagnosis import Diagnosis
from pytest_robust.diagnosis.probes import probes_named
from pytest_robust.diagnosis.subject import Subject
from pytest_robust.errors import MissingDataError, SettingsError
from pytest_robust.models.classifier import Classifier
from pytest_robust.threats.defended import Defended, ThreatModel, network_alone

#: How many images a diagnosis looks at, unless it is told (ours).
IMAGES = 100
#: Added to the run's seed, so that the choice of images shares no random numbers with anything else.
SEED = 7_000_003


def diagnose(
    bench: Bench,
    model: Classifier | Defended,
    split: Split | None = None,
    attack: str | Attack = "pgd",
    *,
    eps: float | None = None,
    images: int = IMAGES,
    checks: Iterable[str] | None = None,
    surrogate: Classifier | None = None,
    training: Split | None = None,
) -> Diagnosis:
    """Look for signs that an evaluation of `model` under `attack` is broken.

    Args:
        bench: where attacks are run and kept.
        model: a classifier, or a defended model, whose adaptive surface is attacked.
        split: clean test images; the bench's by default.
        attack: what the model is evaluated with.
        eps: its budget, if not its own; steps grow with it.
        images: how many of `split`, drawn at random, are looked at; more find smaller defects.
        checks: names of the checks to run; None runs all.
        surrogate: the attacker's own network for the check by transfer. By default the bench's, where all images are
            test images of the bench's data set.
        training: images to train a surrogate on, where there is none.

    Raises:
        SettingsError: the arguments do not fit each other, or there are no images.
        UnknownNameError: a check or an attack that nobody registered.
    """
    probes = probes_named(checks)
    given = bench.test_split if split is None else split
    defended = network_alone(model, model.name) if isinstance(model, Classifier) else model
    check_evaluated(defended, given)
    if images < 1 or len(given) == 0:
        raise SettingsError(f"a diagnosis needs images, not {min(images, len(given))} of {len(given)}.")
    chosen = bench.attack_named(attack) if isinstance(attack, str) else attack
    chosen = chosen if eps is None else with_budget(chosen, eps)
    check_attack_object(chosen)
    few = (given if images >= len(given) else given.sample(images, bench.settings.seed + SEED)).to("cpu")
    find = cache(lambda: _surrogate(bench, few, surrogate, training))
    subject = Subject(bench, defended, _attacked(defended), few, chosen, find)
    return Diagnosis(defended.name, chosen.title, tuple(probe(subject) for probe in probes))


def _attacked(defended: Defended) -> Classifier:
    """What an attacker who knows the defense differentiates."""
    for threat_model in (ThreatModel.ADAPTIVE, ThreatModel.WHITE_BOX):
        if threat_model in defended.surfaces:
            return defended.surface(threat_model)
    return defended.surface(ThreatModel.ADAPTIVE)


def _surrogate(bench: Bench, split: Split, given: Classifier | None, training: Split | None) -> Classifier | None:
    if given is not None:
        return given
    if training is not None:
        # A profile made for other images says nothing about these.
        of_any = profile_for("", bench.settings.scale)
        trainer = bench if _is_like_the_benchs(bench, training) else bench.with_profile(**asdict(of_any))
        seed = bench.settings.seed + SURROGATE_SEED
        return bench.train(trainer.recipe(training, validation=None, name="surrogate", seed=seed))
    return bench.surrogate if _is_the_benchs(bench, split) else None


def _is_the_benchs(bench: Bench, split: Split) -> bool:
    """Whether every image of `split` is a test image of the bench's data set."""
    if not _is_like_the_benchs(bench, split):
        return False
    known = {image.numpy().tobytes() for image in bench.dataset.test.x}
    return all(image.numpy().tobytes() in known for image in split.x.cpu())


def _is_like_the_benchs(bench: Bench, split: Split) -> bool:
    """Whether shape and number of classes are those of the bench's data set, if its files are there at all."""
    try:
        dataset = bench.dataset
    except MissingDataError:
        return False
    return dataset.input_shape == split.input_shape and dataset.num_classes == split.num_classes
