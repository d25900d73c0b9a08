"""A cascade counts the worst of all attacks for each image, and spends nothing on an image that is broken."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from pytest_robust.attacks.attack import Attack
from pytest_robust.attacks.catalogue import DEEPFOOL, PGD
from pytest_robust.bench.bench import Bench
from pytest_robust.bench.cascade import Stage, multi_targeted
from pytest_robust.data.split import Split
from pytest_robust.errors import SettingsError, UnreliableEvaluationWarning
from pytest_robust.models.classifier import Classifier
from pytest_robust.models.dropout_masks import image_keys
from pytest_robust.threats.decision import Decision
from pytest_robust.threats.defended import Defended, network_alone

SHAPE, CLASSES, EPS = (1, 3, 3), 4, 0.12
MakeBench = Callable[..., Bench]


def network(seed: int, name: str = "toy") -> Classifier:
    torch.manual_seed(seed)
    layers = nn.Sequential(nn.Flatten(), nn.Linear(9, 16), nn.ReLU(), nn.Linear(16, CLASSES))
    with torch.no_grad():
        layers[1].weight.mul_(3)
    return Classifier(layers, num_classes=CLASSES, input_shape=SHAPE, name=name).requires_grad_(False)


def images(victim: Classifier, n: int = 60) -> Split:
    """Labelled by the victim itself, but for every tenth."""
    x = torch.rand(n, *SHAPE, generator=torch.Generator().manual_seed(3))
    y = victim.predict(x)
    y[::10] = (y[::10] + 1) % CLASSES
    return Split(x, y, CLASSES, "toys")


def pgd(**params: object) -> Attack:
    """Without a random start, so that what becomes of an image does not depend on the others."""
    return PGD.configured(**{"eps": EPS, "eps_step": EPS / 4, "max_iter": 10, "num_random_init": 0, **params})


def transferred() -> tuple[Classifier, list[Stage]]:
    """A victim, and weak attacks on it by way of other networks, no one of which breaks all that another does."""
    strangers = [Stage(network(seed, f"stranger {seed}"), pgd()) for seed in (1, 2, 3)]
    return network(0), [*strangers, Stage(network(0), pgd(target="label+2"))]


def broken_by_any(bench: Bench, victim: Defended, stages: Sequence[Stage], split: Split) -> Tensor:
    """The slow and obvious way: everything is attacked with everything."""
    made = [bench.attack(stage.surface, stage.attack, split) for stage in stages]
    return torch.stack([bench.evaluate(victim, each).wrong for each in (split, *made)]).any(0)


def test_it_is_the_per_image_worst_in_any_order(bench: Bench) -> None:
    surface, stages = transferred()
    victim, split = network_alone(surface, "victim"), images(surface)
    expected = broken_by_any(bench, victim, stages, split)
    assert 6 < int(expected.sum()) < len(split)
    for order in itertools.permutations(stages, 4):
        worst = bench.worst_case(victim, order, split)
        assert torch.equal(worst.wrong, expected)
        assert worst.error.k == int(expected.sum())
        assert worst.accuracy.k == int((~expected).sum())
        assert worst.error.n == len(split)


def test_every_attack_gets_what_those_before_it_left(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    surface, stages = transferred()
    victim, split = network_alone(surface, "victim"), images(surface)
    given: list[Split] = []
    attack = bench.attack

    def watched(surface: Classifier, chosen: Attack, part: Split) -> object:
        given.append(part)
        return attack(surface, chosen, part)

    monkeypatch.setattr(bench, "attack", watched)
    worst = bench.worst_case(victim, stages, split)
    left = len(split)
    for name, part in zip(worst.attacks, given, strict=False):
        left -= worst.broken.get(name, 0)
        assert len(part) == left
    assert len(given) == len(stages)
    assert sum(worst.broken.values()) == worst.error.k
    assert worst.broken["unattacked"] == 6
    assert torch.equal(given[-1].x[-1], split.x[worst.held[-1]])


def test_nothing_is_attacked_once_all_is_broken(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    surface, stages = transferred()
    split = images(surface)
    monkeypatch.setattr(bench, "attack", lambda *_: pytest.fail("an image that is broken was attacked"))
    everything = torch.ones(len(split), dtype=torch.bool)
    worst = bench.worst_case(network_alone(surface, "victim"), stages, split, before={"elsewhere": everything})
    assert worst.broken == {"unattacked": 6, "elsewhere": len(split) - 6}
    assert worst.error.value == 1


def test_what_was_broken_elsewhere_counts_and_is_left_alone(bench: Bench) -> None:
    surface, stages = transferred()
    victim, split = network_alone(surface, "victim"), images(surface)
    alone = bench.worst_case(victim, stages, split)
    mask = torch.zeros(len(split), dtype=torch.bool).index_fill(0, alone.held[:3], True)
    worst = bench.worst_case(victim, stages, split, before={"elsewhere": mask})
    assert torch.equal(worst.wrong, alone.wrong | mask)
    assert worst.broken["elsewhere"] == 3
    assert worst.accuracy.k == alone.accuracy.k - 3


def test_a_second_run_attacks_nothing(make_bench: MakeBench, tmp_path: Path) -> None:
    surface, stages = transferred()
    victim, split = replace(network_alone(surface, "victim"), random_by_image=True), images(surface)
    first, second = make_bench(cache=tmp_path), make_bench(cache=tmp_path)
    once = first.worst_case(victim, stages, split)
    assert first.ledger.count("crafted") == len(stages)
    counted = counting(victim)
    again = second.worst_case(counted, stages, split)
    assert (second.ledger.count("crafted"), second.ledger.count("reused")) == (0, len(stages))
    assert counted.decide_batch.images == 0  # type: ignore[attr-defined]
    assert torch.equal(once.by, again.by)
    assert once.attacks == again.attacks


class Counting:
    """A defended model's decisions, and on how many images it was asked for them."""

    def __init__(self, decide: Callable[[Tensor], Decision]) -> None:
        self.decide, self.images = decide, 0
        # Decisions are kept by the code that makes them.
        self.__module__ = decide.__module__

    def __call__(self, x: Tensor) -> Decision:
        self.images += len(x)
        return self.decide(x)


def counting(victim: Defended) -> Defended:
    return replace(victim, decide_batch=Counting(victim.decide_batch))


def test_the_checks_of_its_parts_are_its_own(bench: Bench) -> None:
    surface, stages = transferred()
    masked = network(0, "masked")
    with torch.no_grad():
        masked.network[1].weight.zero_()
    split, victim = images(surface), network_alone(surface, "victim")
    with pytest.warns(UnreliableEvaluationWarning, match="under a cascade is no evidence"):
        worst = bench.worst_case(victim, [stages[0], Stage(masked, pgd())], split)
    left = len(split) - sum(list(worst.broken.values())[:2])
    assert [check.partition(": ")[0] for check in worst.checks] == [f"{pgd().title} on masked, {left} of 60 images"]
    assert "gradient is exactly zero on 100.0%" in worst.checks[0]
    assert worst.checks[0] in repr(worst)


def test_a_part_of_a_hundredth_raises_no_check(bench: Bench) -> None:
    surface, _ = transferred()
    masked = network(0, "masked")
    with torch.no_grad():
        masked.network[1].weight.zero_()
    split = images(surface, 100)
    all_but_one = torch.arange(len(split)) != 5
    with warnings.catch_warnings():
        warnings.simplefilter("error", UnreliableEvaluationWarning)
        worst = bench.worst_case(
            network_alone(surface, "victim"), [Stage(masked, pgd())], split, before={"elsewhere": all_but_one}
        )
    assert worst.checks == ()
    assert worst.accuracy.k == 1


def test_a_rejection_is_neither_right_nor_wrong(bench: Bench) -> None:
    surface, stages = transferred()
    split, plain = images(surface), network_alone(surface, "victim")
    often = int(split.y.mode().values)

    def decide(x: Tensor) -> Decision:
        answer = plain.decide_batch(x)
        return Decision(answer.label, answer.label == often, answer.score)

    victim = replace(plain, decide_batch=decide, name="rejects one class", fingerprint="rejects one class")
    made = [bench.attack(stage.surface, stage.attack, split) for stage in stages]
    parts = [bench.evaluate(victim, each) for each in (split, *made)]
    worst = bench.worst_case(victim, stages, split)
    assert torch.equal(worst.wrong, torch.stack([part.wrong for part in parts]).any(0))
    assert torch.equal(worst.right, torch.stack([part.correct for part in parts]).all(0) & ~worst.wrong)
    assert worst.error.k + worst.accuracy.k < len(split)


def random_by_image(surface: Classifier, chance: int = 10) -> Defended:
    """Answers another class on one of `chance` images, which their own bytes choose."""
    plain = network_alone(surface, "victim")

    def decide(x: Tensor) -> Decision:
        answer = plain.decide_batch(x)
        other = (answer.label + 1) % CLASSES
        return Decision(torch.where(image_keys(x) % chance == 0, other, answer.label), answer.rejected, answer.score)

    return replace(plain, decide_batch=decide, name=f"1 in {chance}", fingerprint=f"{chance}", random_by_image=True)


def test_redrawing_finds_the_draw_that_fails(bench: Bench) -> None:
    surface, stages = transferred()
    split, victim = images(surface), random_by_image(surface)
    without = bench.worst_case(replace(victim, random_by_image=False), stages[:1], split)
    worst = bench.worst_case(victim, stages[:1], split, redraws=100)
    assert len(without.held) > 10
    assert worst.attacks[-1] == "redraw(sigma=1e-06, draws=100)"
    # By chance one of them holds out with a probability of 0.9 ** 100.
    assert worst.accuracy.k == 0
    assert worst.broken[worst.attacks[-1]] == len(without.held)
    few = bench.worst_case(victim, stages[:1], split, redraws=1)
    assert 0 < few.accuracy.k < len(without.held) + 1


def test_redrawn_images_are_in_the_ball_and_next_to_an_attacks(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    surface, stages = transferred()
    split, victim = images(surface), random_by_image(surface)
    parts: list[object] = []
    evaluate = bench._evaluator.part
    monkeypatch.setattr(bench._evaluator, "part", lambda d, made: parts.append(made) or evaluate(d, made))
    bench.worst_case(victim, stages[:1], split)
    attacked, redrawn = parts[1:]
    assert bool(redrawn.success.any())  # type: ignore[attr-defined]
    rows = [int((attacked.clean.x == x).flatten(1).all(1).nonzero()) for x in redrawn.clean.x]  # type: ignore[attr-defined]
    assert float((redrawn.x - attacked.x[rows]).abs().max()) < 1e-5  # type: ignore[attr-defined]
    assert float(redrawn.norms["linf"].max()) <= EPS + 1e-6  # type: ignore[attr-defined]
    assert float(redrawn.x.min()) >= 0  # type: ignore[attr-defined]


def test_redrawing_leaves_a_deterministic_defense_alone(bench: Bench) -> None:
    surface, stages = transferred()
    split, victim = images(surface), network_alone(surface, "victim")
    plain = bench.worst_case(victim, stages, split)
    worst = bench.worst_case(replace(victim, random_by_image=True), stages, split)
    assert torch.equal(worst.wrong, plain.wrong)
    assert len(worst.held) > 0


def test_the_stages_of_a_thorough_attack() -> None:
    first, second = network(0), network(1)
    stages = multi_targeted([first, second, first], pgd(), num_classes=CLASSES, restarts=5)
    assert [stage.surface for stage in stages] == [first, second] * 4
    assert [stage.attack.target for stage in stages[::2]] == [None, "label+1", "label+2", "label+3"]
    assert [stage.attack.params["num_random_init"] for stage in stages[::2]] == [5, 1, 1, 1]
    many = multi_targeted([first], pgd(), num_classes=100, restarts=1)
    assert [stage.attack.target for stage in many] == [None, *(f"likely+{k}" for k in range(1, 10))]


@pytest.mark.parametrize(
    ("stages", "sentence"),
    [
        ([], "at least one attack"),
        ([pgd(), pgd(eps=0.2)], "share one norm and budget"),
        ([pgd(), pgd(norm=2)], "share one norm and budget"),
    ],
)
def test_stages_that_cannot_be(bench: Bench, stages: list[Attack], sentence: str) -> None:
    surface = network(0)
    with pytest.raises(SettingsError, match=sentence):
        bench.worst_case(network_alone(surface, "v"), [Stage(surface, a) for a in stages], images(surface))


def test_what_cannot_be_redrawn_is_said_before_anything_is_attacked(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    surface = network(0)
    monkeypatch.setattr(bench, "attack", lambda *_: pytest.fail("attacked first"))
    stage = Stage(surface, DEEPFOOL)
    with pytest.raises(SettingsError, match="redrawn within a budget in L∞ or L2, and deepfool"):
        bench.worst_case(random_by_image(surface), [stage], images(surface))


def test_a_mask_of_other_images_is_refused(bench: Bench) -> None:
    surface, stages = transferred()
    with pytest.raises(SettingsError, match=r"'elsewhere' broke must be a bool tensor of shape \(60,\)"):
        bench.worst_case(
            network_alone(surface, "v"), stages, images(surface), before={"elsewhere": torch.ones(3, dtype=torch.bool)}
        )
