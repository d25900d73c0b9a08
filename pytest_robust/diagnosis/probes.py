"""The checks in the order in which they are run: what each is called, how grave it is, and what examines it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from pytest_robust.diagnosis import binarization, gradients, images, optimisation, outputs, rivals, strength
from pytest_robust.diagnosis.check import Check, Finding, NotApplicable, Outcome, Severity
from pytest_robust.diagnosis.subject import Subject
from pytest_robust.errors import AttackError, ModelError, UnknownNameError

ERROR, WARNING = Severity.ERROR, Severity.WARNING


@dataclass(frozen=True)
class Probe:
    """A named check.

    Args:
        severity: what it means if it is raised.
        examine: looks at a subject; a docstring of one line says at what.
    """

    severity: Severity
    examine: Callable[[Subject], Finding]

    @property
    def name(self) -> str:
        """The examining function's."""
        return self.examine.__name__

    def __call__(self, subject: Subject) -> Check:
        """The check's result on a subject."""
        try:
            found = self.examine(subject)
        except NotApplicable as answer:
            return Check(self.name, self.severity, Outcome.NOT_APPLICABLE, str(answer))
        except (AttackError, ModelError) as error:  # `adv_valid` and `logits_not_probs` flag it, in full
            reason = re.split(r"[:;] ", str(error))[0].rstrip(".")
            return Check(self.name, self.severity, Outcome.NOT_APPLICABLE, f"It cannot be looked at: {reason}.")
        outcome = Outcome.FLAGGED if found.flagged else Outcome.SOUND
        return Check(self.name, found.severity or self.severity, outcome, found.sentence, found.n, found.figures)


PROBES = (
    Probe(ERROR, images.inputs_in_range),
    Probe(ERROR, outputs.logits_not_probs),
    Probe(WARNING, outputs.mode_restored),
    Probe(WARNING, outputs.deterministic_forward),
    Probe(WARNING, outputs.batch_invariance),
    Probe(WARNING, outputs.no_inference_optimisation),
    Probe(WARNING, images.detector_split_clean),
    Probe(ERROR, gradients.gradient_available),
    Probe(WARNING, gradients.gradient_agreement),
    Probe(WARNING, gradients.unstable_predictions),
    Probe(ERROR, images.adv_valid),
    Probe(WARNING, images.adv_margin_stable),
    Probe(ERROR, strength.unbounded_attack),
    Probe(WARNING, strength.eps_monotone),
    Probe(WARNING, optimisation.incomplete_optimisation),
    Probe(WARNING, optimisation.converged),
    Probe(WARNING, rivals.iterative_beats_single),
    Probe(WARNING, rivals.whitebox_beats_blackbox),
    Probe(WARNING, rivals.whitebox_beats_transfer),
    Probe(WARNING, rivals.beats_random_noise),
    Probe(WARNING, rivals.transfer_failure),
    Probe(WARNING, binarization.binarization_test),
)


def probes_named(names: Iterable[str] | None) -> tuple[Probe, ...]:
    """The probes of these names in their own order; all of them for None.

    Raises:
        UnknownNameError: there is none of a name.
    """
    if names is None:
        return PROBES
    chosen = list(names)
    known = [probe.name for probe in PROBES]
    for name in chosen:
        if name not in known:
            raise UnknownNameError(f"there is no check {name!r}; the checks are: {', '.join(known)}.")
    return tuple(probe for probe in PROBES if probe.name in chosen)
