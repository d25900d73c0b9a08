"""The Bench: one object with the data set, recipes, store, device, seed and scale of a run.

A defense fits itself on it, a test asks it for models, adversarial sets and evaluations. Whatever it is asked for
twice it makes once: in memory within a session, in the artifact store between sessions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from pytest_robust.attacks.adversarial_set import AdversarialSet
from pytest_robust.attacks.attack import Attack
from pytest_robust.attacks.crafting import Fingerprinted, attack_key, craft, load_or_craft
from pytest_robust.attacks.redraw import REDRAWS
from pytest_robust.bench.arguments import (
    check_attack_object,
    check_defended,
    check_defense_object,
    check_evaluated,
    check_has_surfaces,
    check_parameters,
    check_profile_fields,
    check_surface,
)
from pytest_robust.bench.cascade import Cascade, Stage
from pytest_robust.bench.defense import Defense
from pytest_robust.bench.evaluating import Evaluator, no_evidence
from pytest_robust.bench.families import default_family, family_title, made_by
from pytest_robust.bench.ledger import Event, Ledger, stopwatch
from pytest_robust.bench.profile import Profile, profile_for
from pytest_robust.bench.settings import Settings, resolve_device
from pytest_robust.catalogue import Registries
from pytest_robust.data.dataset import Dataset
from pytest_robust.data.images import Images
from pytest_robust.data.split import Split
from pytest_robust.data.streamed import loaded
from pytest_robust.errors import DefenseError, SettingsError
from pytest_robust.evaluation.evaluation import Evaluation
from pytest_robust.evaluation.worst_case import WorstCase
from pytest_robust.models.classifier import Classifier
from pytest_robust.models.family import Family, family_of, right_by_all
from pytest_robust.models.parallel import processes_for, train_in_parallel
from pytest_robust.models.precision import best_precision
from pytest_robust.models.predicted import load_or_predict
from pytest_robust.models.progress import Progress
from pytest_robust.models.recipe import Recipe
from pytest_robust.models.recipe_key import recipe_key
from pytest_robust.models.structure import value_fingerprint
from pytest_robust.models.threads import is_tiny
from pytest_robust.models.trained import load_or_train
from pytest_robust.store.artifacts import ArtifactStore
from pytest_robust.store.blame import warn_user
from pytest_robust.threats.defended import Defended, ThreatModel, network_alone

#: Seeds are derived from the run's by adding these, so that no two roles share one.
SURROGATE_SEED = 1_000_003
SAMPLE_SEED = 2_000_003


class Bench:
    """Data, training, attacks and evaluation for one run.

    Args:
        settings: the choices of the run.
        registries: names of data sets, architectures, attacks and defenses; the built-in ones by default.
        progress: told about training and other long work; None is silent.
        profile: sizes and training settings; None is the data set's at the run's scale.

    Raises:
        DeviceError: the machine lacks the device that was asked for.
        CacheError: the cache folder cannot be used.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        registries: Registries | None = None,
        progress: Progress | None = None,
        profile: Profile | None = None,
    ) -> None:
        self.settings = settings or Settings()
        self.registries = registries or Registries()
        self.device = resolve_device(self.settings.device)
        self.store = ArtifactStore(self.settings.cache)
        self.store.check_writable()
        self.ledger = Ledger()
        self._progress = progress
        self._profile = profile
        self._models: dict[str, Classifier] = {}
        #: Seconds that another process took to train a model which this one has not loaded yet, by its key.
        self._trained_apart: dict[str, float] = {}
        self._defended: dict[tuple[type[Defense], str], Defended] = {}
        self._families: dict[str, Family] = {}
        self._evaluator = Evaluator(self.store, self.ledger)

    # -- data ----------------------------------------------------------------------------------------------------

    @cached_property
    def dataset(self) -> Dataset:
        """The data set of the run, loaded now if it was not yet.

        Raises:
            UnknownNameError: nobody registered it.
            MissingDataError: its files are not under the data root.
            DataError: its files are damaged or foreign.
        """
        return self.load_dataset(self.settings.dataset)

    @cached_property
    def out_distribution(self) -> Dataset:
        """The data set of foreign images that goes with `dataset`.

        Raises:
            SettingsError: it has none.
        """
        name = self.dataset.out_distribution
        if name is None:
            raise SettingsError(
                f"the data set {self.dataset.name!r} names no out-distribution companion, and this needs one: choose "
                "another --dataset, or register one with Dataset(out_distribution=...)."
            )
        companion = self.load_dataset(name)
        if companion.input_shape != self.dataset.input_shape:
            raise SettingsError(
                f"{name!r} is the out-distribution companion of {self.dataset.name!r}, but its images are "
                f"{companion.input_shape} (C, H, W) instead of {self.dataset.input_shape}."
            )
        return companion

    def load_dataset(self, name: str) -> Dataset:
        """Any registered data set, from the run's data root."""
        dataset: Dataset = self.registries.datasets.get(name)(self.settings.source)
        return dataset

    @property
    def profile(self) -> Profile:
        """Sizes and training settings for the data set at the run's scale."""
        return self._profile or profile_for(self.settings.dataset, self.settings.scale)

    def with_profile(self, **changes: Any) -> Bench:
        """The same run with fields of its profile changed: a paper's own network, epochs and sizes.

        Data, store, ledger and what is in memory are shared; `classifier` and `surrogate` are the new profile's.

        Raises:
            SettingsError: a profile has no such field.
        """
        check_profile_fields(changes)
        other = Bench(self.settings, self.registries, self._progress, replace(self.profile, **changes))
        other.store, other.ledger, other._evaluator = self.store, self.ledger, self._evaluator
        other._models, other._trained_apart = self._models, self._trained_apart
        other.dataset = self.dataset
        return other

    @cached_property
    def _parts(self) -> tuple[Split, Split | None]:
        """Training images, and the validation images held out from them; disjoint by construction."""
        everything = self.dataset.train
        order = torch.randperm(len(everything), generator=torch.Generator().manual_seed(self._sample_seed))
        held_out = self.profile.validation_images
        size = len(everything) - held_out if self.profile.train_images is None else self.profile.train_images
        train = everything.subset(order[held_out : held_out + size], name=f"{everything.name}[{size}]")
        validation = everything.subset(order[:held_out], name=f"{everything.name}[validation]") if held_out else None
        return train, validation

    @property
    def train_split(self) -> Split:
        """The training images of the run's scale."""
        return self._parts[0]

    @property
    def validation_split(self) -> Split | None:
        """Images held out from the training set, or None; never test images."""
        return self._parts[1]

    @cached_property
    def test_split(self) -> Split:
        """The test images of the run's scale: all of them, or a random sample of fixed seed."""
        return loaded(self.test_images)

    @cached_property
    def test_images(self) -> Images:
        """The same images as `test_split`, as a study takes them: in chunks, which a streamed data set reads then."""
        return self._sampled(self.dataset.test_images, self.profile.test_images)

    @cached_property
    def out_distribution_test_split(self) -> Split:
        """Foreign test images, as many as the scale allows."""
        return loaded(self._sampled(self.out_distribution.test_images, self.profile.test_images))

    def test_sample(self, size: int | None) -> Split:
        """A random sample of the test images; None is all of them."""
        return loaded(self._sampled(self.dataset.test_images, size))

    def _sampled(self, images: Images, size: int | None) -> Images:
        return images if size is None or size >= len(images) else images.sample(size, self._sample_seed)

    @property
    def _sample_seed(self) -> int:
        return self.settings.seed + SAMPLE_SEED

    # -- models --------------------------------------------------------------------------------------------------

    def recipe(self, *data: Split, **changes: Any) -> Recipe:
        """The run's recipe for training on `data` (the training images if none is given), with fields changed."""
        profile = self.profile
        fields: dict[str, Any] = {
            "architecture": profile.architecture,
            "validation": self.validation_split,
            "learning_rate": profile.learning_rate,
            "weight_decay": profile.weight_decay,
            "schedule": profile.schedule,
            "epochs": profile.epochs,
            "patience": profile.patience,
            "batch_size": profile.batch_size,
            "augmentation": profile.augmentation,
            "normalization": profile.normalization,
            "precision": "float32" if is_tiny(self.dataset.input_shape) else best_precision(self.device),
            "seed": self.settings.seed,
        }
        return Recipe(data=data or (self.train_split,), **{**fields, **changes})

    def train(self, recipe: Recipe) -> Classifier:
        """The classifier that `recipe` gives: from memory, from the store, or trained now."""
        return self._train(recipe, self._key(recipe))

    def _key(self, recipe: Recipe) -> str:
        return recipe_key(recipe, self.registries.architectures, self.device)

    def _train(self, recipe: Recipe, key: str) -> Classifier:
        if key not in self._models:
            architectures = self.registries.architectures
            with stopwatch() as watch:
                self._models[key], built = load_or_train(recipe, self.store, self.device, architectures, self._progress)
            apart = self._trained_apart.pop(key, None)
            event: Event = "trained" if built or apart is not None else "loaded"
            seconds = watch.seconds + (apart or 0.0)
            self.ledger.note(event, recipe.title, seconds, key=key, precision=recipe.precision)
        return self._models[key]

    def train_all(self, recipes: Sequence[Recipe]) -> list[Classifier]:
        """The classifiers of several recipes, in order; on CPUs what is missing is trained at the same time.

        The result is that of `train`, one after the other, but for the last bits of the weights on images that are not
        tiny: those hang on the number of threads.
        """
        keys = [self._key(recipe) for recipe in recipes]
        by_key = dict(zip(keys, recipes, strict=True))
        missing = {k: r for k, r in by_key.items() if k not in self._models and not self.store.holds("model", k)}
        processes = processes_for(len(missing), self.device)
        if processes > 1:
            todo = list(missing)
            built = train_in_parallel(list(missing.values()), self.store.root, self.device, processes, self._progress)
            self._trained_apart.update({todo[i]: seconds for i, seconds in built.items()})
        return [self._train(recipe, key) for recipe, key in zip(recipes, keys, strict=True)]

    @cached_property
    def classifier(self) -> Classifier:
        """The undefended network, trained on the training images alone."""
        return self.train(self.undefended_recipe)

    @property
    def undefended_recipe(self) -> Recipe:
        """Of `classifier`."""
        return self.recipe(name="undefended")

    @cached_property
    def surrogate(self) -> Classifier:
        """The attacker's own network: the same recipe trained apart, from another seed, without any defense."""
        return self.train(self.surrogate_recipe)

    @property
    def surrogate_recipe(self) -> Recipe:
        """Of `surrogate`."""
        return self.recipe(name="surrogate", seed=self.settings.seed + SURROGATE_SEED)

    def family(self, family: str | Family | Mapping[str, nn.Module] | None = None) -> Family:
        """Named networks to compare, each fitted to the images of the run, in eval mode and frozen.

        Networks given as objects are copied unless they are so already: yours stay as they are.

        Args:
            family: a registered name, ``FILE.py:FUNCTION``, ``PACKAGE.MODULE:FUNCTION``, a `Family`, or names to
                modules (or `Classifier`, or `Member`); None is the run's (``--family``), or else the data set's own.

        Raises:
            UnknownNameError: nobody registered the name.
            MissingDataError: a network's weights are not under the data root.
            FamilyError: a network cannot be loaded or does not fit the images; never are there fewer networks.
        """
        chosen = family if family is not None else self.settings.family or default_family(self.settings.dataset)
        if not isinstance(chosen, str):
            name = chosen.name if isinstance(chosen, Family) else "own"
            images = self.dataset
            return family_of(name, chosen, images.num_classes, images.input_shape, self.device, copied=True)
        if chosen not in self._families:
            made = made_by(chosen, self)
            dataset = self.dataset
            title, shape = family_title(chosen), dataset.input_shape
            self._families[chosen] = family_of(title, made, dataset.num_classes, shape, self.device)
        return self._families[chosen]

    def predictions(self, family: Family, images: Images | None = None) -> dict[str, Tensor]:
        """Each member's predicted labels (by default of the test images), int64 of shape (N,), from the store or now.

        Images are read in chunks, once, and only if some member's labels are not in the store; what was predicted stays
        there if the run is interrupted.
        """
        chosen = self.test_images if images is None else images
        return load_or_predict(family.members, chosen, self.store, self._progress)

    def correctly_classified_by_all(self, family: Family, images: Images | None = None) -> Tensor:
        """Positions, int64, of the images (by default the test images) that every member classifies correctly.

        Raises:
            FamilyError: there is no such image.
        """
        chosen = self.test_images if images is None else images
        return right_by_all(family.name, self.predictions(family, chosen), chosen)

    def defend(self, defense: str | Defense, **parameters: Any) -> Defended:
        """A fitted defense, by registered name, with parameters changed, or as an object.

        Raises:
            UnknownNameError: nobody registered the name.
            SettingsError: it has no such parameter, or an object is given with parameters.
            DefenseError: it is no frozen dataclass with a name, or does not give a sound `Defended`.
        """
        registered = self.registries.defenses.get(defense) if isinstance(defense, str) else defense
        chosen = registered() if isinstance(defense, str) and isinstance(registered, type) else registered
        check_defense_object(chosen)
        if parameters:
            check_parameters(defense, chosen, parameters)
            chosen = type(chosen)(**{**chosen.parameters, **parameters})
        # By class and parameters: two classes can share a title, and so can two numbers that print alike.
        key = type(chosen), value_fingerprint(chosen.parameters)
        if key not in self._defended:
            defended = chosen.fit(self)
            if not isinstance(defended, Defended):
                raise DefenseError(
                    f"the defense {chosen.title!r}: fit must return a Defended, not {type(defended).__name__}."
                )
            check_defended(defended, self.dataset.num_classes)
            self._defended[key] = defended
        return self._defended[key]

    def surface(self, defended: Defended, threat_model: ThreatModel | str) -> Classifier:
        """What an attacker differentiates: the surrogate under `transfer`, else a surface of `defended`.

        Raises:
            SettingsError: the defense offers no surface for this threat model, or `defended` is something else.
        """
        if threat_model == ThreatModel.TRANSFER:
            return self.surrogate
        check_has_surfaces(defended, threat_model)
        return defended.surface(threat_model)

    # -- attacks and evaluation ----------------------------------------------------------------------------------

    def attack_named(self, name: str, **params: Any) -> Attack:
        """A registered attack with parameters changed."""
        attack: Attack = self.registries.attacks.get(name)
        return attack.configured(**params) if params else attack

    def correctly_classified(self, surface: Classifier, split: Split) -> Split:
        """Those images of `split` that `surface` classifies correctly, in order."""
        keep = surface.predict(split.x) == split.y
        return split.subset(keep, name=f"{split.name}, correctly classified")

    def attack(self, surface: Classifier, attack: str | Attack, split: Split | None = None) -> AdversarialSet:
        """`split` (the test images by default) perturbed by `attack` against `surface`: from the store, or now.

        Raises:
            SettingsError: `surface` or `attack` is something else, or they do not fit each other or the images.
            AttackError: the attack cannot run here, or its output breaks the contract.
            ModelError: the surface does not give logits.
        """
        check_surface(surface)
        chosen = self.attack_named(attack) if isinstance(attack, str) else attack
        check_attack_object(chosen)
        with stopwatch() as watch:
            adversarial, built = load_or_craft(
                chosen, surface, self.test_split if split is None else split, self.store, seed=self.settings.seed
            )
        self.ledger.note("crafted" if built else "reused", chosen.title, watch.seconds, n=len(adversarial))
        return adversarial

    def craft(self, surface: Classifier, attack: Attack, split: Split) -> AdversarialSet:
        """`split` perturbed by `attack` against `surface`, now and kept nowhere: for who keeps only a few numbers.

        Such numbers are kept under a key made of `attack_key`.

        Raises:
            SettingsError, AttackError, ModelError: as `attack` does.
        """
        check_surface(surface)
        check_attack_object(attack)
        with stopwatch() as watch:
            adversarial = craft(attack, surface, split, seed=self.settings.seed)
        self.ledger.note("crafted", attack.title, watch.seconds, n=len(adversarial))
        return adversarial

    def attack_key(self, surface: Classifier, attack: Attack, images: Fingerprinted) -> str:
        """Fingerprint of everything that determines what `craft` gives; the images need not be read for it."""
        return attack_key(attack, surface, images, self.settings.seed)

    def evaluate(self, defended: Defended | Classifier, images: AdversarialSet | Split | None = None) -> Evaluation:
        """What `defended` makes of an adversarial set, or of clean images (the test images by default).

        A classifier is evaluated as it is, without a defense.

        Raises:
            SettingsError: `defended` or `images` is something else.
            DefenseError: a decision breaks the contract.

        Warns:
            UnreliableEvaluationWarning: the attack shows signs of not having worked, so its figures prove nothing.
        """
        chosen = network_alone(defended, defended.name) if isinstance(defended, Classifier) else defended
        given = images if images is not None else self.test_split
        check_evaluated(chosen, given)
        return self._evaluator.evaluate(chosen, given)

    def worst_case(
        self,
        defended: Defended,
        stages: Sequence[Stage],
        split: Split | None = None,
        *,
        before: Mapping[str, Tensor] | None = None,
        redraws: int = REDRAWS,
    ) -> WorstCase:
        """A cascade: `split` (the test images by default) under each stage's attack, as long as they hold out.

        Each attack gets only the images that `defended` answers neither wrongly as they are nor under any attack before
        it, by its own decisions, and every image counts by the worst of all. At last, of a defense that is random by
        image (`Defended.random_by_image`), what came nearest is asked about again with noise that redraws its numbers.

        Args:
            defended: what is attacked.
            stages: in order; `multi_targeted` makes those of a thorough attack.
            split: clean images.
            before: bool of shape (N,) by name: which of them other attacks of no larger budget have broken.
            redraws: how often an image is redrawn, at most.

        Raises:
            SettingsError: no stage, stages of different norms or budgets, or a mask of another shape.
            AttackError, ModelError: as `attack` does.
            DefenseError: a decision breaks the contract.

        Warns:
            UnreliableEvaluationWarning: a part of more than a hundredth of the images shows signs of not having worked.
        """
        images = self.test_split if split is None else split
        check_evaluated(defended, images)
        worst = self._cascade(redraws).run(defended, stages, images, before or {})
        if worst.checks:
            warn_user(no_evidence(f"{defended.name} under a cascade", worst.checks))
        return worst

    def redrawn(
        self, defended: Defended, adversarial: AdversarialSet, attack: Attack, *, redraws: int = REDRAWS
    ) -> AdversarialSet:
        """What an attacker makes of a defense that is random by image: the same images, where they fooled it.

        The others are asked about again with noise of 10⁻⁶, which has the defense's numbers drawn anew, inside the
        attack's ball. A defense that draws none answers them as before.

        Args:
            defended: what was attacked.
            adversarial: what the attack made on its adaptive surface.
            attack: whose norm (L∞ or L2) and budget hold.
            redraws: how often an image is redrawn, at most.

        Raises:
            SettingsError: the attack has no budget, or one in another norm.
            DefenseError: a decision breaks the contract.
        """
        stage = Stage(defended.surface(ThreatModel.ADAPTIVE), attack)
        return self._cascade(redraws).redrawn(defended, adversarial, stage)

    def _cascade(self, redraws: int) -> Cascade:
        return Cascade(self.attack, self._evaluator.part, self.store, self.settings.seed, redraws)
