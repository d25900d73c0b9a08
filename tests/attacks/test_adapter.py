"""ART's own attacks through the adapter, and what the common checks say of attacks that break the contract."""

from __future__ import annotations

import types
from typing import Any

import numpy as np
import pytest
import torch
from art.attacks.attack import EvasionAttack

from pytest_robust.attacks.adapter import Adapted, art_attack
from pytest_robust.attacks.attack import Attack
from pytest_robust.attacks.catalogue import AUTOATTACK
from pytest_robust.attacks.common_checks import check_attack
from pytest_robust.attacks.crafting import craft
from pytest_robust.catalogue import ATTACKS, Registries
from pytest_robust.data.split import Split
from pytest_robust.errors import AttackError, DataError, UnknownNameError
from pytest_robust.models.classifier import Classifier

#: Budgets of steps with which the long attacks show what they are in a second.
SHORT: dict[str, dict[str, Any]] = {
    "apgd": {"max_iter": 10},
    "boundary": {"max_iter": 60},
    "cw_l2": {"max_iter": 60},
    "hopskipjump": {"max_iter": 3, "max_eval": 200},
    "square": {"max_iter": 60},
    "zoo": {"max_iter": 30, "learning_rate": 0.1, "binary_search_steps": 1, "initial_const": 10.0},
}
#: One draw of noise is no search for an image that fools: its paper's fools two MNIST images in three.
ENOUGH = {"gaussian_noise": 0.3}
RUNNABLE = sorted(set(ATTACKS) - {"autoattack"})
ART_NAMES = ["FastGradientMethod", "BasicIterativeMethod", "DeepFool", "MomentumIterativeMethod"]


@pytest.mark.parametrize("name", RUNNABLE)
def test_every_registered_attack_keeps_the_contract(name):
    attack = Registries().attacks.get(name)
    check_attack(attack.configured(**SHORT.get(name, {})), enough=ENOUGH.get(name, 0.7))


@pytest.mark.parametrize("name", ART_NAMES)
def test_attacks_reached_by_their_art_name_keep_the_contract(name):
    check_attack(Registries().attacks.get(f"art:{name}"))


def test_an_unknown_art_name_gets_the_nearest_ones():
    with pytest.raises(UnknownNameError, match="art:DeepFool"):
        Registries().attacks.get("art:DeepFol")


def test_autoattack_without_multiprocess_names_the_command(toy, toy_images, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "multiprocess", None)
    with pytest.raises(AttackError, match="pip install multiprocess"):
        craft(AUTOATTACK, toy, toy_images, seed=0)


def test_autoattack_runs_quietly_where_multiprocess_is_there(toy, toy_images, monkeypatch, capfd):
    # ART imports it before it knows whether it needs it; in one process it does not.
    monkeypatch.setitem(__import__("sys").modules, "multiprocess", types.ModuleType("multiprocess"))
    made = craft(AUTOATTACK.configured(eps=0.3), toy, toy_images.subset(range(4)), seed=0)
    assert bool(made.success.all())
    assert "it/s" not in capfd.readouterr().err


class _Shared(EvasionAttack):
    """What the attacks below have in common: a stranger's attack, with ``generate`` alone."""

    attack_params: list[str] = []  # noqa: RUF012
    _estimator_requirements = ()

    def __init__(self, estimator: Any) -> None:
        super().__init__(estimator=estimator)

    def solved(self, x: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Each image becomes the plain picture of another class: brightening another quarter."""
        made = np.full_like(x, 0.4)
        for image, label in zip(made, labels, strict=True):
            quarter = (int(label) + 1) % 4
            image[:, 4 * (quarter // 2) :, 4 * (quarter % 2) :][:, :4, :4] = 0.6
        return made


class Honest(_Shared):
    def generate(self, x: np.ndarray, y: np.ndarray | None = None, **_: Any) -> np.ndarray:
        assert y is not None
        return self.solved(x, y.argmax(1)).astype(np.float64)


class LeavesTheBox(_Shared):
    def generate(self, x: np.ndarray, y: np.ndarray | None = None, **_: Any) -> np.ndarray:  # noqa: ARG002
        return x + 2


class GivesNaN(_Shared):
    def generate(self, x: np.ndarray, y: np.ndarray | None = None, **_: Any) -> np.ndarray:  # noqa: ARG002
        return np.where(np.arange(len(x)).reshape(-1, 1, 1, 1) == 2, np.nan, x)


class WrongShape(_Shared):
    def generate(self, x: np.ndarray, y: np.ndarray | None = None, **_: Any) -> np.ndarray:  # noqa: ARG002
        return x[:, :, :4]


class DoesNothing(_Shared):
    def generate(self, x: np.ndarray, y: np.ndarray | None = None, **_: Any) -> np.ndarray:  # noqa: ARG002
        return x


class ChangesWeights(_Shared):
    def generate(self, x: np.ndarray, y: np.ndarray | None = None, **_: Any) -> np.ndarray:  # noqa: ARG002
        with torch.no_grad():
            next(self.estimator.model.parameters()).add_(1e-3)
        return x


class IsRandom(_Shared):
    def generate(self, x: np.ndarray, y: np.ndarray | None = None, **_: Any) -> np.ndarray:
        assert y is not None
        noise = np.random.default_rng().uniform(0, 1e-3, x.shape)
        return (self.solved(x, y.argmax(1)) + noise).astype(np.float32)


class IgnoresLabels(_Shared):
    eps = 1.0  # with a budget, every image is handed to it

    def generate(self, x: np.ndarray, y: np.ndarray | None = None, **_: Any) -> np.ndarray:  # noqa: ARG002
        return self.solved(x, self.estimator.predict(x).argmax(1))


class Crashes(_Shared):
    def generate(self, x: np.ndarray, y: np.ndarray | None = None, **_: Any) -> np.ndarray:  # noqa: ARG002
        raise ValueError("no such thing")


def strangers(cls: type, **settings: Any) -> Attack:
    given = {"norm": None, "reference": "a test", **settings}
    return Attack(name="stranger", implementation=f"{__name__}:{cls.__name__}", **given)


def test_a_strangers_attack_with_generate_alone_passes_the_checks():
    check_attack(strangers(Honest))


@pytest.mark.parametrize(
    ("cls", "complaint"),
    [
        (LeavesTheBox, r"image 0 leaves \[0, 1\]"),
        (GivesNaN, "image 2 is not finite"),
        (WrongShape, "returned shape"),
        (DoesNothing, "fools an undefended toy on 0%"),
        (ChangesWeights, "changes the model's weights"),
        (IsRandom, "same seed gives other images"),
        (IgnoresLabels, "ignores the labels"),
        (Crashes, "no such thing"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_the_common_checks_catch_a_broken_attack(cls, complaint):
    with pytest.raises((AssertionError, AttackError), match=complaint):
        check_attack(strangers(cls))


def test_an_attack_that_overspends_its_budget_is_named(toy, toy_images):
    attack = strangers(Honest, norm="linf", params={})
    generous = Attack(**{**vars(attack), "params": {"eps": 0.05}})
    with pytest.raises(AttackError, match="cannot be built"):
        craft(generous, toy, toy_images, seed=0)  # it has no such parameter

    class Spends(Honest):
        def __init__(self, estimator: Any, eps: float) -> None:
            super().__init__(estimator)
            self.eps = eps

    globals()["Spends"] = Spends
    spends = strangers(Spends, norm="linf", params={"eps": 0.05})
    with pytest.raises(AttackError, match=r"stranger.*image 0 is farther than eps=0.05 in linf"):
        craft(spends, toy, toy_images, seed=0)


def test_decision_based_attacks_leave_alone_what_fools_the_model_already(toy, toy_images):
    attack = art_attack("HopSkipJump").configured(max_iter=2, max_eval=100)
    wrong = Split(toy_images.x[:6], (toy.predict(toy_images.x[:6]) + 1) % 4, 4, "wrong labels")
    made = craft(attack, toy, wrong, seed=0)
    assert torch.equal(made.x, wrong.x)
    assert bool(made.success.all())


def test_generate_takes_integers_or_one_hot_labels_and_defaults_to_predictions(toy, toy_images):
    built = Registries().attacks.get("fgsm").build(toy)
    assert not isinstance(built, Adapted)
    x, y = toy_images.x.numpy(), toy_images.y.numpy()
    integers = built.generate(x, y)
    assert integers.dtype == np.float32
    assert np.array_equal(integers, built.generate(x, np.eye(4)[y]))
    assert np.array_equal(integers, built.generate(x))  # the toy gets every image right
    assert np.array_equal(integers, built.perturb(toy_images.x, toy_images.y).numpy())


def test_generate_without_targets_is_refused(toy, toy_images):
    built = Registries().attacks.get("fgsm_targeted").build(toy)
    with pytest.raises(AttackError, match="targeted"):
        built.generate(toy_images.x.numpy())


def test_images_out_of_range_are_refused_before_anything_runs(toy, toy_images):
    for name in ("pgd", "square"):
        with pytest.raises(DataError, match="divide by 255"):
            Registries().attacks.get(name).build(toy).perturb(toy_images.x * 255, toy_images.y)


def test_an_estimator_that_preprocesses_is_refused(toy):
    from art.estimators.classification import PyTorchClassifier

    from pytest_robust.attacks.fgsm import FGSM

    loss = torch.nn.CrossEntropyLoss()
    estimator = PyTorchClassifier(toy, loss, (1, 8, 8), 4, clip_values=(0, 1), preprocessing=(0.5, 0.5))
    with pytest.raises(AttackError, match="preprocessing"):
        FGSM(estimator)


def test_arts_classifier_leaves_the_model_where_and_as_it_is(toy, toy_images):
    estimator = toy.art_estimator()
    assert estimator.model is toy
    assert estimator.device == toy.device
    assert estimator.preprocessing_operations == []
    assert tuple(float(v) for v in estimator.clip_values) == (0.0, 1.0)
    double = estimator.predict(toy_images.x.numpy().astype(np.float64))
    assert np.allclose(double, toy.logits_of(toy_images.x).numpy(), atol=1e-5)


def test_arts_classifier_honours_a_sequential_with_its_own_forward(toy_images):
    """ART runs a bare Sequential child by child and forgets what its forward does."""

    class Doubled(torch.nn.Sequential):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return 2 * super().forward(x)

    torch.manual_seed(0)
    network = Doubled(torch.nn.Flatten(), torch.nn.Linear(64, 4))
    classifier = Classifier(network, num_classes=4, input_shape=(1, 8, 8))
    predicted = classifier.art_estimator().predict(toy_images.x.numpy())
    assert np.allclose(predicted, network(toy_images.x).detach().numpy(), atol=1e-6)
