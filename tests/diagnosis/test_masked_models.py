"""Every check is raised by a model or an attack that is broken in the way it looks for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import masked as m
import pytest
import torch

from pytest_robust.attacks.attack import Attack
from pytest_robust.bench.bench import Bench
from pytest_robust.data.split import Split
from pytest_robust.diagnosis.check import Outcome, Severity
from pytest_robust.diagnosis.diagnose import diagnose
from pytest_robust.diagnosis.diagnosis import Diagnosis
from pytest_robust.models.classifier import Classifier
from pytest_robust.threats.decision import Decision
from pytest_robust.threats.defended import Defended, ThreatModel, network_alone

Masked = Callable[..., Diagnosis]
BROKEN = Attack("broken", "masked:Leaves", {"eps": 0.1}, reference="none")


@pytest.mark.parametrize(
    ("kind", "check", "says"),
    [
        (m.Softmax, "logits_not_probs", "gives probabilities"),
        (m.Sigmoid, "logits_not_probs", "(a sigmoid?)"),
        (m.Noisy, "deterministic_forward", "the model is random"),
        (m.Noisy, "iterative_beats_single", "A single step"),
        (m.LooksAtTheBatch, "batch_invariance", "looks at the whole batch"),
        (m.Remembers, "mode_restored", "network.seen"),
        (m.Optimises, "no_inference_optimisation", "asked for 1 gradients"),
        (m.Saturated, "gradient_available", "zero or not finite"),
        (m.Rounded, "gradient_available", "zero or not finite on 100%"),
        (m.Detached, "gradient_available", "interrupted: the surface 'Detached' has no gradient"),
        (m.Detached, "adv_valid", "some operation in it detaches"),
        (m.Shattered, "gradient_agreement", "shattered"),
        (m.Jagged, "unstable_predictions", "so noisy a loss"),
        (m.Noisy, "adv_margin_stable", "answered otherwise at another batch size"),
        (m.Rounded, "unbounded_attack", "still withstand the attack"),
        (m.Jagged, "eps_monotone", "Robust accuracy rises"),
        (m.Rounded, "whitebox_beats_blackbox", "Square"),
        (m.Rounded, "whitebox_beats_transfer", "made on a surrogate"),
        (m.Rounded, "beats_random_noise", "Random noise"),
        (m.Rounded, "binarization_test", "only 0.000"),
        (m.Shattered, "binarization_test", "on only"),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else None,
)
def test_a_masked_model_raises(masked: Masked, kind: type[m.Around], check: str, says: str) -> None:
    found = masked(kind, check)[check]
    assert found.flagged, found
    assert says in found.sentence
    assert found.n > 0
    assert str(found.n) in found.sentence or kind in (m.Softmax, m.Detached)


def test_saturated_softmax_is_an_error_only_for_who_climbs_it(masked: Masked, bench: Bench) -> None:
    """This package's attacks climb a loss that scaling does not flatten; ART's climb the cross-entropy."""
    found = masked(m.Scaled, "gradient_available")["gradient_available"]
    assert (found.outcome, found.severity) == (Outcome.FLAGGED, Severity.WARNING)
    assert found.figures["cross-entropy, at the image"] > 0.5
    assert found.figures["attack's loss, at the image"] == 0


@pytest.mark.parametrize("kind", [m.Saturated, m.Rounded, m.Detached, m.Noisy, m.Softmax])
def test_masks_that_break_the_attack_are_errors(masked: Masked, kind: type[m.Around]) -> None:
    checks = "logits_not_probs", "gradient_available", "adv_valid", "adv_margin_stable", "unbounded_attack"
    assert masked(kind, *checks).errors


def test_images_divided_by_255_twice(bench: Bench) -> None:
    test = bench.test_split
    dark = Split(test.x / 255, test.y, 10, "dark")
    assert diagnose(bench, bench.classifier, dark, checks=["inputs_in_range"])["inputs_in_range"].flagged


def test_a_model_in_training_mode(bench: Bench) -> None:
    model = m.around(m.Around, bench.classifier).train()
    found = diagnose(bench, model, checks=["mode_restored"])["mode_restored"]
    assert "in training mode" in found.sentence
    assert model.training


def test_an_attack_that_leaves_its_ball(bench: Bench) -> None:
    diagnosis = diagnose(bench, bench.classifier, attack=BROKEN, checks=["adv_valid", "converged"])
    assert "farther than eps=0.1" in diagnosis["adv_valid"].sentence
    assert diagnosis["adv_valid"].severity is Severity.ERROR


def test_adversarial_images_on_the_boundary(bench: Bench) -> None:
    halving = replace(BROKEN, implementation="masked:OnTheBoundary", params={"eps": 1.0})
    found = diagnose(bench, bench.classifier, attack=halving, checks=["adv_margin_stable"])["adv_margin_stable"]
    assert found.flagged, found


def test_an_attack_that_stops_too_early(bench: Bench) -> None:
    hasty = bench.attack_named("pgd", eps=0.2, eps_step=0.05, max_iter=4)
    slow = bench.attack_named("pgd", eps=0.2, eps_step=0.005, max_iter=40)
    for attack in (hasty, slow):
        checks = diagnose(bench, bench.classifier, attack=attack, checks=["incomplete_optimisation", "converged"])
        assert checks.flagged, attack.title


def test_thresholds_fitted_on_the_test_images(bench: Bench) -> None:
    def diagnosed(split: Split) -> bool:
        defended = replace(network_alone(bench.classifier, "fitted"), fitted_on=split)
        return diagnose(bench, defended, checks=["detector_split_clean"])["detector_split_clean"].flagged

    assert diagnosed(bench.test_split)
    assert not diagnosed(bench.train_split)


def test_an_attack_on_another_network_than_the_deployed_one(bench: Bench) -> None:
    deployed = network_alone(bench.classifier, "deployed")
    astray = replace(deployed, surfaces={ThreatModel.ADAPTIVE: bench.surrogate})
    assert isinstance(astray, Defended)
    assert diagnose(bench, astray, checks=["transfer_failure"])["transfer_failure"].flagged
    assert not diagnose(bench, deployed, checks=["transfer_failure"]).flagged


@pytest.mark.parametrize("networks", [True, False], ids=["network named", "no network named"])
def test_an_attack_that_does_not_see_the_detector(bench: Bench, networks: bool) -> None:
    """The network that answers is attacked as if it were alone; what fools it is rejected, and no clean image is."""
    alone = network_alone(bench.classifier, "behind a detector")

    def decide(x: torch.Tensor) -> Decision:
        off = (16 * x - torch.round(16 * x)).abs().flatten(1).amax(1)
        return replace(alone.decide_batch(x), rejected=off > 1e-3, score=off)

    guarded = replace(alone, decide_batch=decide, networks=alone.networks if networks else {})
    found = diagnose(bench, guarded, checks=["transfer_failure"])["transfer_failure"]
    assert found.flagged, found
    assert found.figures["lost"] == 1.0
    assert f"({found.n}/{found.n}," in found.sentence


def test_a_model_that_gives_nan_on_perturbed_images(bench: Bench) -> None:
    model = m.around(m.BreaksOffGrid, bench.classifier)
    diagnosis = diagnose(bench, model, checks=["logits_not_probs", "adv_valid", "transfer_failure"])
    assert [check.name for check in diagnosis.errors] == ["adv_valid"]
    assert "NaN" in diagnosis["adv_valid"].sentence
    assert diagnosis["transfer_failure"].outcome is Outcome.NOT_APPLICABLE


def test_a_model_that_is_right_on_no_image(bench: Bench) -> None:
    test = bench.test_split
    wrong = Split(test.x, (bench.classifier.predict(test.x) + 1) % 10, 10, "wrong labels")
    diagnosis = diagnose(bench, bench.classifier, wrong)
    assert [check.name for check in diagnosis.errors] == ["adv_valid"]
    assert "None of 100 clean images is classified correctly. So there is nothing" in diagnosis["adv_valid"].sentence
    assert diagnosis["adv_valid"].n == 100


def test_a_gradient_free_attack_is_asked_for_no_gradient(bench: Bench) -> None:
    names = ["gradient_available", "gradient_agreement", "incomplete_optimisation", "whitebox_beats_blackbox"]
    square = bench.attack_named("square", max_iter=20)
    diagnosis = diagnose(bench, m.around(m.Detached, bench.classifier), attack=square, checks=names)
    assert {check.outcome for check in diagnosis} == {Outcome.NOT_APPLICABLE}


def test_a_model_that_breaks_in_its_backward_pass(bench: Bench) -> None:
    class Breaks(m.Around):
        def behind(self, logits: torch.Tensor) -> torch.Tensor:
            changed = logits.exp()
            changed += 1
            return changed.log()

    model = Classifier(Breaks(bench.classifier), num_classes=10, input_shape=(1, 8, 8), name="breaks")
    diagnosis = diagnose(bench, model, checks=["gradient_available", "adv_valid", "unbounded_attack"])
    assert [check.name for check in diagnosis.errors] == ["gradient_available", "adv_valid"]
