"""Evaluating: decisions of a defended model on images, made once and cached, and the checks on them and the attack."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from pytest_robust.attacks.adversarial_set import AdversarialSet
from pytest_robust.attacks.isolation import seeded
from pytest_robust.bench.ledger import Ledger, stopwatch
from pytest_robust.data.split import Split
from pytest_robust.errors import UnreliableEvaluationWarning
from pytest_robust.evaluation.evaluation import Evaluation
from pytest_robust.models.threads import suitable_threads
from pytest_robust.store.artifacts import Artifact, ArtifactStore
from pytest_robust.store.blame import warn_user
from pytest_robust.store.code import code_fingerprint
from pytest_robust.store.fingerprint import fingerprint
from pytest_robust.threats.decision import Decision
from pytest_robust.threats.defended import Defended, check_decision

#: An attack some of whose images change sides with the batch size sits on the boundary; above this share its
#: success rate is no figure to judge by.
MOST_UNSTABLE = 0.01
#: Images whose gradient is exactly zero were not attacked at all; above this share the attack proves nothing.
MOST_ZERO_GRADIENT = 0.01
#: Images that are decided once more, in batches of a third of them: enough to see a share of one per cent (ours).
BATCH_SAMPLE = 100
#: An attack that has no budget can go as far as it needs, so that it fools an undefended surface on nearly every image;
#: below this share it is the attack that failed, and the defense looks strong for nothing (Carlini et al. 2019).
LEAST_SUCCESS_WITHOUT_BUDGET = 0.9


class Evaluator:
    """Evaluates defended models on image sets; the same pair is decided once, in memory and in the store.

    Args:
        store: where decisions are kept between sessions.
        ledger: told about every evaluation.
    """

    def __init__(self, store: ArtifactStore, ledger: Ledger) -> None:
        self._store = store
        self._ledger = ledger
        self._known: dict[str, Evaluation] = {}
        self._warned: set[int] = set()

    def evaluate(self, defended: Defended, images: AdversarialSet | Split) -> Evaluation:
        """The evaluation of `defended` on `images`.

        Warns:
            UnreliableEvaluationWarning: what attacked the images shows signs of not having worked, or the decisions
                depend on the batch.
        """
        evaluation = self.part(defended, images)
        if evaluation.checks and id(evaluation) not in self._warned:
            self._warned.add(id(evaluation))
            attack = evaluation.settings.get("title", "an attack")
            where = f"on {images.name}" if isinstance(images, Split) else f"under {attack}"
            warn_user(no_evidence(f"{defended.name} {where}", evaluation.checks))
        return evaluation

    def part(self, defended: Defended, images: AdversarialSet | Split) -> Evaluation:
        """The same without a warning: what is wrong with it is for whoever puts several together to judge."""
        code = code_fingerprint(defended.decide_batch)
        key = fingerprint(["decision", 4, defended.name, defended.fingerprint, code, images.fingerprint])
        if key not in self._known:
            with stopwatch() as watch:
                evaluation = self._evaluate(defended, images, key)
            self._known[key] = evaluation
            self._ledger.note("evaluated", defended.name, watch.seconds, evaluation=evaluation.as_dict())
        return self._known[key]

    def _evaluate(self, defended: Defended, images: AdversarialSet | Split, key: str) -> Evaluation:
        artifact, _ = self._store.get_or_build("decision", key, lambda: _decide(defended, images.x))
        tensors = artifact.tensors
        decision = Decision(tensors["label"], tensors["rejected"], tensors["score"])
        check_decision(decision, len(images), defended.num_classes, defended.name)
        wavering, drawing = artifact.metadata["wavering"], artifact.metadata["drawing"]
        if isinstance(images, Split):
            found, settings = decision_signs(wavering), {"data": images.name}
            return Evaluation(
                defended.name, images.y, decision, settings=settings, checks=found, wavering=wavering, drawing=drawing
            )
        return Evaluation(
            defended.name,
            images.y,
            decision,
            images.success,
            images.image,
            images.norms,
            images.provenance,
            checks(images) + decision_signs(wavering, drawing),
            images.right,
            wavering,
            drawing,
        )


def no_evidence(what: str, found: Sequence[str]) -> UnreliableEvaluationWarning:
    """The warning that an evaluation shows the signs `found`."""
    return UnreliableEvaluationWarning(f"{what} is no evidence: {'; '.join(found)}.")


def _decide(defended: Defended, x: Tensor) -> Artifact:
    decision = _seeded_decision(defended, x)
    tensors = {"label": decision.label, "rejected": decision.rejected, "score": decision.score}
    metadata: dict[str, Any] = {"defense": defended.name, **_asked_again(defended, x, decision)}
    return Artifact({k: v.contiguous() for k, v in tensors.items()}, metadata)


def _seeded_decision(defended: Defended, x: Tensor, *, seed: int = 0, **settings: int) -> Decision:
    # Seeded, so that a defense which draws random numbers decides the same in every run.
    with seeded(seed, defended.device), suitable_threads(tuple(x.shape[1:]), defended.device):
        return defended.decide(x, **settings)


def _asked_again(defended: Defended, x: Tensor, decision: Decision) -> dict[str, float]:
    """The shares of the first images that are decided otherwise in small batches, and with other random numbers.

    A defense that draws lots decides otherwise in small batches as well; that says nothing of batches. A single image
    of them is none: its decision can lie on the boundary, where sums round.
    """
    n = min(len(x), BATCH_SAMPLE)
    first = Decision(decision.label[:n], decision.rejected[:n], decision.score[:n])
    other = _seeded_decision(defended, x[:n], seed=1)
    if _changed(first, other) > 0:
        # Of the same images at once, as what differs may come of the batch.
        drawing = _changed(first if n == len(x) else _seeded_decision(defended, x[:n]), other)
        if drawing > 1:
            return {"wavering": 0.0, "drawing": drawing / n}
    wavering = _changed(first, _seeded_decision(defended, x[:n], batch_size=max(1, n // 3)))
    return {"wavering": _share(wavering, n), "drawing": 0.0}


def _share(changed: int, n: int) -> float:
    return changed / n if changed > 1 else 0.0


def _changed(first: Decision, other: Decision) -> int:
    """On how many of the images of `first` the label or the rejection of `other` is another."""
    n = len(first)
    return int(((first.label != other.label[:n]) | (first.rejected != other.rejected[:n])).sum())


def decision_signs(wavering: float, drawing: float = 0.0) -> tuple[str, ...]:
    """The signs that decisions are no property of the images, a sentence each.

    Args:
        wavering: share of the images that are decided otherwise in batches of another size.
        drawing: with other random numbers, where somebody attacks: he may ask until he gets the answer that he wants.
    """
    found = []
    if wavering > MOST_UNSTABLE:
        found.append(f"{wavering:.1%} of the first images are decided otherwise in batches of another size")
    if drawing > MOST_UNSTABLE:
        found.append(
            f"{drawing:.1%} of the first attacked images are decided otherwise with other random numbers, and the "
            "figure is of one draw: an attacker asks again"
        )
    return tuple(found)


def checks(adversarial: AdversarialSet, *, must_succeed: bool = True) -> tuple[str, ...]:
    """What is wrong with an adversarial set as evidence, a sentence each; empty when nothing is.

    Args:
        adversarial: the set.
        must_succeed: without a budget it has to fool nearly every image; not so noise and blur, which look for nothing.
    """
    if len(adversarial) == 0:
        return warning_signs(0)
    success = float(adversarial.provenance.get("weakest_part", adversarial.success_share))
    free = must_succeed and adversarial.provenance.get("budget", "none") is None
    return warning_signs(
        len(adversarial),
        unstable=float(adversarial.unstable.float().mean()),
        zero_gradient=float(adversarial.provenance.get("zero_gradient", 0.0)),
        success=success if free else None,
    )


def warning_signs(
    n: int, *, unstable: float = 0.0, zero_gradient: float = 0.0, success: float | None = None
) -> tuple[str, ...]:
    """The signs that an attack on `n` images did not work, a sentence each.

    Args:
        n: attacked images.
        unstable: share whose answer depends on the batch.
        zero_gradient: share on which the surface's gradient is exactly zero.
        success: share of the correctly classified images that fooled the attack's own surface, of an attack without a
            budget; None of any other.
    """
    if n == 0:
        return ("no image was attacked",)
    found = []
    if unstable > MOST_UNSTABLE:
        found.append(f"{unstable:.1%} of the adversarial images change sides with the batch size")
    if zero_gradient > MOST_ZERO_GRADIENT:
        found.append(f"the surface's gradient is exactly zero on {zero_gradient:.1%} of the images (gradient masking)")
    if success is not None and success < LEAST_SUCCESS_WITHOUT_BUDGET:
        found.append(
            f"the attack has no budget, and yet fooled its own surface on only {success:.1%} of the correctly "
            "classified images"
        )
    return tuple(found)
