"""A model whose gradients lead nowhere is unreliable under every attack that follows them, and a sound one is not."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from pytest_robust.bench.bench import Bench
from pytest_robust.bench.settings import Settings
from pytest_robust.data.split import Split
from pytest_robust.errors import UnreliableEvaluationWarning
from pytest_robust.evaluation.verdict import Verdict
from pytest_robust.gate import gradients
from pytest_robust.gate.measuring import Measurer
from pytest_robust.gate.requirements import Gate, Requirement
from pytest_robust.gate.robust import Robust
from pytest_robust.models.classifier import Classifier

SAYS = "withstand PGD without a budget"
STEP = "does not raise the loss of"
QUICK = {"eps": 0.02, "steps": 5}


class Around(nn.Module):
    """The toy behind a mask."""

    def __init__(self, toy: Classifier) -> None:
        super().__init__()
        self.toy = toy


class Detached(Around):
    """A gradient that is another function's: no operation is refused, and nothing in it is zero."""

    def forward(self, x: Tensor) -> Tensor:
        stand_in = x.flatten(1) @ torch.rand(64, 4, generator=torch.Generator().manual_seed(1))
        return self.toy(x.detach()) + 1e-3 * stand_in  # type: ignore[no-any-return]


class Staircase(Around):
    """Rounding, with a small slope on its steps."""

    def forward(self, x: Tensor) -> Tensor:
        steps = (x * 16).round() / 16
        return self.toy(steps + (x - steps) * -0.05)  # type: ignore[no-any-return]


class Temperature(Around):
    """Logits whose size ripples, much faster than the answer changes."""

    def forward(self, x: Tensor) -> Tensor:
        logits = self.toy(x)
        ripple = torch.sin(2000 * (x.flatten(1) * torch.linspace(1, 3, 64)).sum(1, keepdim=True))
        return (logits - logits.mean(1, keepdim=True)) * (1 + 0.9 * ripple)  # type: ignore[no-any-return]


class StraightOn(Around):
    """Rounding, beside a faint gradient that points the other way."""

    def forward(self, x: Tensor) -> Tensor:
        return self.toy((x * 16).round() / 16) + 1e-4 * self.toy(1 - x)  # type: ignore[no-any-return]


MASKS = [Detached, Staircase, Temperature, StraightOn]


def masked(kind: type[Around], toy: Classifier) -> Classifier:
    return Classifier(kind(toy), num_classes=4, input_shape=(1, 8, 8), name=kind.__name__)


def signs(result):
    return [check for check in result.checks if SAYS in check]


@pytest.mark.parametrize("kind", MASKS)
def test_a_masked_model_is_unreliable_with_one_sentence(kind, robust, toy, images):
    with pytest.warns(UnreliableEvaluationWarning, match=SAYS):
        result = robust.evaluate(masked(kind, toy), images, "pgd", **QUICK)
    (sign,) = signs(result)
    assert " of 48 images withstand" in sign
    assert sign.endswith("run diagnose")
    held = result.at_least(0.5)
    assert held.verdict is Verdict.UNRELIABLE
    assert SAYS in held.reason


@pytest.mark.parametrize("kind", [Detached, Temperature])
def test_a_gradient_that_is_another_functions_raises_no_loss(kind, robust, toy, images, monkeypatch):
    """Also where it leads to the far end of the box, where any answer may be wrong."""
    monkeypatch.setattr(gradients, "_withstood", lambda *_: ())
    (sign,) = gradients.gradient_signs(robust.bench.store, masked(kind, toy), images)
    assert sign.startswith(f"a step of 2/255 along the gradient {STEP} ")


class EightBits(Around):
    """Rounding with a stand-in for its gradient (BPDA), as it should be attacked."""

    def forward(self, x: Tensor) -> Tensor:
        return self.toy(x + ((x * 255).round() / 255 - x).detach())  # type: ignore[no-any-return]


def test_a_stand_in_for_a_gradient_that_leads_somewhere_is_none_to_complain_of(robust, toy, images):
    assert gradients.gradient_signs(robust.bench.store, masked(EightBits, toy), images) == ()


@pytest.mark.parametrize("attack", ["fgsm", "bim", "pgd", "apgd"])
def test_a_sound_model_is_not_flagged_under_any_gradient_attack(attack, robust, toy, images):
    assert robust.evaluate(toy, images, attack, eps=0.02).checks == ()


@pytest.mark.filterwarnings("ignore::pytest_robust.errors.UnreliableEvaluationWarning")
def test_whatever_follows_gradients_is_flagged_and_nothing_else(robust, toy, images):
    """Neither who asks for none nor who has no budget: that one fails by itself, and says so."""
    model = masked(Staircase, toy)
    with pytest.warns(UnreliableEvaluationWarning, match=SAYS):
        assert signs(robust.evaluate(model, images, "fgsm", eps=0.02))
    for attack, settings in (("square", {"eps": 0.02, "steps": 3}), ("deepfool", {"steps": 2}), (None, {})):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(gradients, "_withstanding", lambda *_: pytest.fail("nobody asked for it"))
            fresh = masked(Staircase, toy)
            robust.evaluate(fresh, images.subset(range(12)), attack, **settings)


def test_a_model_that_was_seen_is_not_attacked_again(tmp_path, toy, images, monkeypatch):
    """Neither for another attack, nor in a later session, whatever its seed."""

    def found(seed: int, attack: str):
        bench = Bench(Settings(cache=tmp_path / "cache", device="cpu", seed=seed))
        with pytest.warns(UnreliableEvaluationWarning, match=SAYS):
            return signs(Robust(bench).evaluate(masked(Staircase, toy), images, attack, eps=0.02))

    first = found(0, "fgsm")
    monkeypatch.setattr(gradients, "_withstanding", lambda *_: pytest.fail("it is in the store"))
    assert found(0, "bim") == found(3, "fgsm") == first


class InPart(Around):
    """Masked where the first quarter is the bright one."""

    def forward(self, x: Tensor) -> Tensor:
        bright = x[:, :, :4, :4].mean((1, 2, 3)) > x.mean((1, 2, 3)) + 0.05
        steps = (x * 16).round() / 16
        rounded = steps + (x - steps) * -0.05
        return self.toy(torch.where(bright[:, None, None, None], rounded, x))  # type: ignore[no-any-return]


def test_a_mask_on_one_class_is_seen_though_the_images_are_sorted(robust, toy, images):
    backwards = images.y.argsort(descending=True, stable=True)
    ordered = Split(images.x[backwards], images.y[backwards], 4, "sorted")
    with pytest.warns(UnreliableEvaluationWarning, match=SAYS):
        assert signs(robust.evaluate(masked(InPart, toy), ordered, "fgsm", eps=0.02))


def test_wrongly_classified_images_are_not_looked_at(robust, toy, images):
    """An attack has nothing to do there."""
    shifted = Split(images.x, (images.y + 1) % 4, 4, "all wrong")
    assert gradients.gradient_signs(robust.bench.store, masked(Staircase, toy), shifted) == ()


class NotEverywhere(Around):
    """A gradient that is NaN where a value is 1, which the images do not come near."""

    def forward(self, x: Tensor) -> Tensor:
        room = (1 - x.amax((1, 2, 3))).abs().sqrt()
        return self.toy(x) + 0 * room[:, None]  # type: ignore[no-any-return]


def test_a_model_that_breaks_far_from_the_images_says_so(robust, toy, images):
    (sign,) = gradients.gradient_signs(robust.bench.store, masked(NotEverywhere, toy), images)
    assert sign.startswith("PGD without a budget cannot run on the model (PGD: the model's gradient is NaN")


@pytest.mark.parametrize("kind", [Staircase, None])
def test_in_batches_the_whole_is_looked_at_once(kind, robust, toy, images, monkeypatch):
    calls = []
    inside = gradients._withstanding
    monkeypatch.setattr(
        gradients, "_withstanding", lambda surface, split: calls.append(len(split)) or inside(surface, split)
    )
    monkeypatch.setattr("pytest_robust.gate.measuring.BATCH", 16)
    model = toy if kind is None else masked(kind, toy)
    robust._models["model", 0], robust._data["data"] = model, images
    gate = Gate("model", "data", (), path="robust.toml")
    requirement = Requirement("accuracy", "at_least", 0.4, "fgsm", eps=0.02, sequential=True)
    measurement = Measurer(gate, robust).measure(requirement)
    assert len(measurement.results) > 1
    assert calls == [48]
    assert sum(SAYS in check for check in measurement.checks) == (kind is not None)
