"""A defense that breaks the contract gets an error that names it and the field; a masked surface is called out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from pytest_robust.attacks.adversarial_set import AdversarialSet
from pytest_robust.bench.evaluating import Evaluator, checks
from pytest_robust.bench.ledger import Ledger
from pytest_robust.data.split import Split
from pytest_robust.errors import DefenseError, UnreliableEvaluationWarning
from pytest_robust.evaluation.evaluation import Evaluation
from pytest_robust.store.artifacts import ArtifactStore
from pytest_robust.threats.decision import Decision
from pytest_robust.threats.defended import Defended


def defended(decide: Callable[[Tensor], object]) -> Defended:
    return Defended("broken", 3, decide, {}, torch.device("cpu"), "fingerprint")  # type: ignore[arg-type]


def good(n: int) -> dict[str, Tensor]:
    return {
        "label": torch.zeros(n, dtype=torch.int64),
        "rejected": torch.zeros(n, dtype=torch.bool),
        "score": torch.zeros(n),
    }


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("label", torch.zeros(4, 1, dtype=torch.int64)),
        ("label", torch.zeros(4)),
        ("label", torch.full((4,), 3)),
        ("rejected", torch.zeros(4, dtype=torch.int64)),
        ("rejected", None),
        ("score", torch.full((4,), float("nan"))),
        ("score", torch.zeros(3)),
    ],
)
def test_broken_decisions_name_the_defense_and_the_field(field: str, value: object) -> None:
    model = defended(lambda x: Decision(**{**good(len(x)), field: value}))  # type: ignore[arg-type]
    with pytest.raises(DefenseError, match=rf"'broken': decision\.{field}"):
        model.decide(torch.zeros(4, 1, 2, 2))


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (None, "must return a Decision, not NoneType"),
        ((1, 2, 3), "must return a Decision, not tuple"),
        (torch.zeros(4), "must return a Decision, not Tensor"),
    ],
)
def test_what_is_no_decision_is_said_to_be_none(answer: object, sentence: str) -> None:
    with pytest.raises(DefenseError, match=f"'broken'.*{sentence}"):
        defended(lambda _: answer).decide(torch.zeros(4, 1, 2, 2))


def without_rejected(x: Tensor) -> Decision:
    return Decision(label=x, score=x)  # type: ignore[call-arg]


def beyond(x: Tensor) -> Decision:
    return Decision(x, x, [x][1])


@pytest.mark.parametrize(("decide", "sentence"), [(without_rejected, "'rejected'"), (beyond, "IndexError: list index")])
def test_what_a_defense_raises_gets_its_name(decide: Callable[[Tensor], Decision], sentence: str) -> None:
    with pytest.raises(DefenseError, match=f"'broken' failed.*{sentence}") as raised:
        defended(decide).decide(torch.zeros(4, 1, 2, 2))
    assert raised.value.__cause__ is not None
    line = decide.__code__.co_firstlineno + 1
    assert f"test_decisions.py:{line})" in str(raised.value)


def test_a_defense_that_works_in_place_leaves_the_images_alone() -> None:
    def decide(x: Tensor) -> Decision:
        x.fill_(0.5)
        return Decision(**good(len(x)))

    images = torch.zeros(4, 1, 2, 2)
    defended(decide).decide(images)
    assert not bool(images.any())


def adversarial(n: int, unstable: int, zero: float, **provenance: object) -> AdversarialSet:
    clean = Split(torch.zeros(n, 1, 2, 2), torch.zeros(n, dtype=torch.int64), 3)
    mask = torch.arange(n) < unstable
    return AdversarialSet(
        clean, clean.x, ~mask, mask, provenance={"attack": "toy", "zero_gradient": zero, **provenance}
    )


def test_sound_sets_raise_no_check() -> None:
    assert checks(adversarial(100, 1, 0.0)) == ()


@pytest.mark.parametrize(
    ("made", "sentence"),
    [
        (adversarial(100, 2, 0.0), "change sides with the batch size"),
        (adversarial(100, 0, 0.5), "gradient masking"),
        (adversarial(0, 0, 0.0), "no image was attacked"),
    ],
)
def test_unsound_sets_are_called_out(made: AdversarialSet, sentence: str) -> None:
    assert any(sentence in check for check in checks(made))


def test_joined_sets_keep_their_parts_checks() -> None:
    joined = AdversarialSet.cat([adversarial(10, 0, 0.0), adversarial(10, 0, 0.5)])
    assert any("gradient masking" in check for check in checks(joined))


@pytest.mark.parametrize(("budget", "flagged"), [(None, True), (0.1, False)])
def test_only_an_attack_without_a_budget_must_reach_its_goal(budget: float | None, flagged: bool) -> None:
    made = adversarial(100, 0, 0.0, budget=budget)
    failed = AdversarialSet(made.clean, made.x, ~made.success, made.unstable, provenance=made.provenance)
    assert bool(checks(failed)) is flagged
    assert not checks(made)
    assert not checks(failed, must_succeed=False)  # as of noise


def test_an_attack_answers_only_for_the_images_that_were_right_before_it() -> None:
    made = adversarial(100, 0, 0.0, budget=None)
    right = torch.arange(100) < 80
    taken = AdversarialSet(made.clean, made.x, right, made.unstable, provenance=made.provenance, right=right)
    assert not checks(taken)
    assert not checks(AdversarialSet.cat([taken, taken]))
    assert not checks(taken.subset(torch.arange(70, 100)))
    failed = AdversarialSet(made.clean, made.x, ~right, made.unstable, provenance=made.provenance, right=right)
    assert any("on only 0.0% of the correctly classified images" in check for check in checks(failed))
    assert any("on only 0.0%" in check for check in checks(AdversarialSet.cat([taken, failed])))


def scoring(decide: Callable[[Tensor, Tensor], Tensor], store: Path) -> Evaluation:
    def decision(x: Tensor) -> Decision:
        score = x.flatten(1).mean(1)
        return Decision(torch.zeros(len(x), dtype=torch.int64), decide(x, score), score)

    brightness = torch.linspace(0, 1, 60)[torch.randperm(60, generator=torch.Generator().manual_seed(0))]
    images = Split(brightness[:, None, None, None].expand(60, 1, 2, 2).clone(), torch.zeros(60, dtype=torch.int64), 3)
    return Evaluator(ArtifactStore(store), Ledger()).evaluate(defended(decision), images)


def test_decisions_that_depend_on_the_batch_are_called_out_also_from_the_cache(tmp_path: Path) -> None:
    sentence = "are decided otherwise in batches of another size"
    for _ in range(2):
        with pytest.warns(UnreliableEvaluationWarning, match=f"broken on .*{sentence}"):
            found = scoring(lambda _x, score: score > score.mean(), tmp_path).checks
        assert len(found) == 1
        assert sentence in found[0]


def test_one_image_that_draws_lots_hides_no_batch(tmp_path: Path) -> None:
    """The darkest image is answered by chance, the others by the batch."""

    def decide(_x: Tensor, score: Tensor) -> Tensor:
        answer = score > score.mean()
        answer[score.argmin()] = torch.rand(()) > 0.5
        return answer

    with pytest.warns(UnreliableEvaluationWarning, match="batches of another size"):
        scoring(decide, tmp_path)


@pytest.mark.parametrize(
    "decide",
    [lambda _x, score: score > 0.5, lambda x, _score: torch.rand(len(x)) > 0.5],
    ids=["a threshold", "lots"],
)
def test_decisions_image_by_image_are_not(decide: Callable[[Tensor, Tensor], Tensor], tmp_path: Path) -> None:
    assert scoring(decide, tmp_path).checks == ()
