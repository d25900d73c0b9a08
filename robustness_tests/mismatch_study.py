"""The decision-mismatch paper's study: its networks, its seven attacks, and what detectors make of them.

Every attack's detector data are made from the same training images, which are cut into folds once. A detector trained
on one attack answers about another attack's images of the fold that it was not trained on: so no original is ever in
both, every image counts, and Table III is the diagonal of Figure 5. (The paper draws its images anew for each attack,
and does not say whether the draws overlap.)
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from study import PaperStudy
from torch import Tensor

from pytest_robust.attacks.adversarial_set import AdversarialSet
from pytest_robust.attacks.attack import Attack
from pytest_robust.bench.bench import Bench
from pytest_robust.bench.evaluating import checks
from pytest_robust.bench.held_out import training_and_held_out
from pytest_robust.claims.paper import Paper
from pytest_robust.data.split import Split
from pytest_robust.defenses.feature_squeezing import FeatureSqueezing
from pytest_robust.defenses.mismatch import AttackedImages, Mismatch, attacked_images, detector_images, features_of
from pytest_robust.evaluation.detectors import Detection, cross_fitted, folds_of
from pytest_robust.evaluation.evaluation import Evaluation
from pytest_robust.evaluation.mean import Mean, paired_mean_difference
from pytest_robust.evaluation.perturbation_stats import PerturbationStats
from pytest_robust.evaluation.rate import Rate
from pytest_robust.evaluation.worst_case import WorstCase
from pytest_robust.models.classifier import Classifier
from pytest_robust.models.detectors import Detector, detector_factory
from pytest_robust.store.artifacts import Artifact
from pytest_robust.store.code import users_code_fingerprint
from pytest_robust.store.fingerprint import fingerprint, source_fingerprint
from pytest_robust.threats.defended import Defended, ThreatModel

PAPER = Paper.read(Path(__file__).parent / "claims" / "mismatch.toml")
#: Registered names, in the order of Figure 5: FGSM, IGSM, JSMA, DeepFool; blur, Gaussian noise, salt and pepper.
GRADIENT = ("fgsm_smallest", "bim_smallest", "jsma", "deepfool")
DEGRADATIONS = ("gaussian_blur", "gaussian_noise", "salt_and_pepper")
ATTACKS = (*GRADIENT, *DEGRADATIONS)
#: The surfaces of a defense that PGD is run on: blind to the detector, and with it in the loss.
PGD_ON = (ThreatModel.WHITE_BOX, ThreatModel.ADAPTIVE)
#: And those of the cascade on what these two leave. Of 100 held-out training images of the digits, PGD blind to the
#: detector got through on none that this cascade did not.
CASCADE_ON = (ThreatModel.ADAPTIVE, "label_first")
#: Added to the run's seed, so that folds share no random numbers with the choice of images.
FOLD_SEED = 6_000_003


def signs(attack: str, made: AdversarialSet, *, must_succeed: bool = True) -> list[str]:
    """The signs that an attack did not work, a sentence each; of noise and blur, nobody expects that they do."""
    return [f"{attack}: {sign}" for sign in checks(made, must_succeed=must_succeed and attack not in DEGRADATIONS)]


class MismatchStudy(PaperStudy):
    """Everything that the paper's claims look at, made when first asked for.

    Args:
        bench: data, training, attacks and evaluation.
    """

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench, PAPER)
        self.defense = Mismatch()
        self._data: dict[str, AttackedImages] = {}

    @property
    def dataset(self) -> str:
        """Name of the run's data set."""
        return self.bench.settings.dataset

    @cached_property
    def networks(self) -> tuple[Classifier, Classifier]:
        """Network 1 and network 2."""
        return self.defense.networks(self.bench)

    @cached_property
    def images(self) -> Split:
        """The training images that detectors are trained and tested on."""
        return detector_images(self.bench)

    def attack(self, name: str) -> Attack:
        """A registered attack with this paper's parameters."""
        settings = self.bench.settings
        return self.bench.attack_named(name, **PAPER.attack_params(settings.dataset, settings.scale, name))

    def data(self, attack: str) -> AttackedImages:
        """The images of the detector, some of them attacked."""
        if attack not in self._data:
            self._data[attack] = attacked_images(self.bench, self.networks, self.attack(attack), self.images)
        return self._data[attack]

    def checks(self, *attacks: str) -> list[str]:
        """What speaks against the detector's images of these attacks as evidence, a sentence each.

        Not how many of them the attack failed on: those are clean images to the detector, which is judged on what
        fooled, and against a trivial one on the same mixture.
        """
        sets = [(attack, made) for attack in attacks for made in self.data(attack).sets]
        return [sign for attack, made in sets for sign in signs(attack, made, must_succeed=False)]

    def checks_of_sizes(self, *attacks: str) -> list[str]:
        """What speaks against the attacked test images, whose sizes are compared, a sentence each.

        Sizes are of successes, so those of an attack that fails on many images are of the easy ones.
        """
        return [sign for attack in attacks for sign in signs(attack, self.adversaries(attack))]

    @cached_property
    def features(self) -> dict[str, Tensor]:
        """What the detector sees of each attack's data."""
        return {attack: features_of(self.networks, self.data(attack).x, self.defense.answers) for attack in ATTACKS}

    @cached_property
    def answers(self) -> dict[tuple[str, str], Detection]:
        """What detectors say, by the attack that they were trained on and the attack that they are asked about."""
        attacked = {attack: self.data(attack).attacked for attack in ATTACKS}
        folds = PAPER.setup(self.dataset, "detection")["folds"]
        fold = folds_of(len(self.images), folds, self.bench.settings.seed + FOLD_SEED)
        causes = [
            [source_fingerprint(type(self)), source_fingerprint(cross_fitted)],
            [self.defense.detector, users_code_fingerprint(detector_factory(self.defense.detector))],
            version("scikit-learn"),
            [self.features, attacked, fold],
        ]

        def build() -> Artifact:
            scores = cross_fitted(self._fitted, self.features, attacked, fold)
            return Artifact({"score": torch.stack([scores[a, b] for a in ATTACKS for b in ATTACKS])}, {})

        artifact, _ = self.bench.store.get_or_build("detection", fingerprint(causes), build)
        pairs = [(trained, tested) for trained in ATTACKS for tested in ATTACKS]
        return {
            (trained, tested): Detection(attacked[tested], score > 0, score, fold)
            for (trained, tested), score in zip(pairs, artifact.tensors["score"], strict=True)
        }

    def _fitted(self, features: Tensor, attacked: Tensor) -> Callable[[Tensor], Tensor]:
        return Detector(self.defense.detector, features, attacked).score

    def under_cross_validation(self, attack: str) -> Detection:
        """Table III: answers of detectors trained on the other folds of the same attack's data."""
        return self.answers[attack, attack]

    @property
    def generalisation(self) -> Tensor:
        """Figure 5: accuracies, float64 (7, 7), by attack trained on and attack tested on; NaN on the diagonal."""
        rows = [[self.answers[a, b].accuracy.value if a != b else torch.nan for b in ATTACKS] for a in ATTACKS]
        return torch.tensor(rows, dtype=torch.float64)

    @property
    def papers_generalisation(self) -> Tensor:
        """The paper's Figure 5, or 6, as `generalisation`."""
        rows = PAPER.data["figures"][PAPER.like(self.dataset)]["generalisation"]
        return torch.tensor([rows[attack] for attack in ATTACKS], dtype=torch.float64)

    def gradient_over_degradation(self) -> Mean:
        """Mean off-diagonal accuracy of the gradient-trained rows minus that of the others, paired on originals."""
        gradient, degradation = (self._right_elsewhere(rows) for rows in (GRADIENT, DEGRADATIONS))
        return paired_mean_difference(gradient, degradation)

    def _right_elsewhere(self, rows: tuple[str, ...]) -> Tensor:
        cells = [self.answers[a, b].correct for a in rows for b in ATTACKS if a != b]
        return torch.stack(cells).double().mean(0)

    # -- Table II --------------------------------------------------------------------------------------------------

    def adversaries(self, attack: str, **params: Any) -> AdversarialSet:
        """Test images attacked on network 1, with parameters changed; the same images by every attack."""
        network = self.networks[0]
        sample = self.bench.test_sample(PAPER.setup(self.dataset, "table2")["images"])
        chosen = self.attack(attack).configured(**params)
        return self.bench.attack(network, chosen, self.bench.correctly_classified(network, sample))

    @cached_property
    def perturbations(self) -> dict[str, PerturbationStats]:
        """Success and size of every attack."""
        return {attack: PerturbationStats.of(self.adversaries(attack)) for attack in ATTACKS}

    # -- feature squeezing beside it ---------------------------------------------------------------------------------

    @cached_property
    def squeezing(self) -> tuple[Defended, Defended]:
        """Feature squeezing around network 1 and around network 2."""
        _, held_out = training_and_held_out(self.bench)
        first, second = (FeatureSqueezing().around(self.bench, network, held_out) for network in self.networks)
        return first, second

    def detection_rates(self, attack: str) -> dict[str, tuple[Rate, Rate]]:
        """Table IV: share of attacked images that are detected, and of clean ones, by defense, on the same images.

        Feature squeezing guards the network that an image was attacked on, also where that attack failed and left it
        clean; of an image that nobody attacked, network 1.
        """
        data, proposed = self.data(attack), self.under_cross_validation(attack).predicted
        guards = [self.bench.evaluate(guard, self._as_split(attack)) for guard in self.squeezing]
        squeezed = torch.where(data.network == 1, *(g.decision.rejected for g in reversed(guards)))
        return {
            name: (Rate.of(detected[data.attacked]), Rate.of(detected[~data.attacked]))
            for name, detected in (("mismatch", proposed), ("feature_squeezing", squeezed))
        }

    def _as_split(self, attack: str) -> Split:
        x = self.data(attack).x
        return Split(x, self.images.y, self.images.num_classes, f"{attack}, some clean", "adversarial")

    # -- beside the paper ---------------------------------------------------------------------------------------------

    def guarded(self, defense: str) -> Defended:
        """The defense as users get it; feature squeezing around network 1, so that both name the same labels."""
        return self.bench.defend(self.defense) if defense == "mismatch" else self.squeezing[0]

    def under_pgd(self, defense: str, threat_model: ThreatModel) -> Evaluation:
        """What a defense makes of test images attacked with PGD on one of its surfaces."""
        defended = self.guarded(defense)
        images = self.bench.test_sample(PAPER.setup(self.dataset, "adaptive")["images"])
        made = self.bench.attack(defended.surface(threat_model), self.attack("pgd"), images)
        return self.bench.evaluate(defended, made)

    def clean_test(self, defense: str) -> Evaluation:
        """What a defense makes of those images as they are."""
        images = self.bench.test_sample(PAPER.setup(self.dataset, "adaptive")["images"])
        return self.bench.evaluate(self.guarded(defense), images)

    def worst_under_pgd(self, defense: str) -> WorstCase:
        """What a defense makes of a cascade of PGD, after one PGD blind to the detector and one with it in the loss.

        An attacker who looks at the detector can also do without: so the figure is never below the blind one's.
        """
        images = self.bench.test_sample(PAPER.setup(self.dataset, "adaptive")["images"])
        before = {f"pgd, {threat_model}": self.under_pgd(defense, threat_model).wrong for threat_model in PGD_ON}
        steps = {k: v for k, v in self._cascade.items() if k != "restarts"}
        attack = self.attack("pgd").configured(**steps)
        return self.worst_case(self.guarded(defense), CASCADE_ON, attack, images, before, restarts=self.restarts)

    @property
    def restarts(self) -> int:
        """Starts of the cascade's PGD."""
        found: int = self._cascade["restarts"]
        return found

    @property
    def _cascade(self) -> dict[str, Any]:
        return dict(PAPER.setup(self.dataset, "cascade")[self.bench.settings.scale])

    def embedded(self) -> tuple[dict[str, Tensor], Tensor]:
        """Figure 4: raw images and features of the same images, and which are attacked."""
        setup = PAPER.setup(self.dataset, "embedding")
        data = self.data(setup["attack"])
        spaces = {"raw images": data.x.flatten(1), "answers of both networks": self.features[setup["attack"]]}
        return spaces, data.attacked
