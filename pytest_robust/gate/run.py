"""A GateRun: judges the requirements of one robust.toml, each when it is asked for, by pytest or in a notebook."""

from __future__ import annotations

import json
import warnings
from functools import cached_property
from typing import Any

from pytest_robust.diagnosis.diagnosis import Diagnosis
from pytest_robust.errors import GateError, TrainModeWarning, UnreliableEvaluationWarning
from pytest_robust.gate.baseline_file import Baseline, Entry, packed
from pytest_robust.gate.comparing import Change, change_from
from pytest_robust.gate.judging import Judged, judgement_of, reliable, settings_of
from pytest_robust.gate.measuring import Measurement, Measurer
from pytest_robust.gate.placing import placed
from pytest_robust.gate.requirements import Gate, Requirement
from pytest_robust.gate.robust import Robust
from pytest_robust.threats.defended import Defended


class GateRun:
    """A gate that is being judged.

    Args:
        gate: what is demanded of which model.
        robust: evaluates it; its root is the folder from which the model and the data are found.
        baseline: compared with; None compares with nothing.
        saving: whether a baseline is being made of this run.
    """

    def __init__(self, gate: Gate, robust: Robust, baseline: Baseline | None = None, *, saving: bool = False) -> None:
        self.gate, self.robust, self.baseline, self.saving = gate, robust, baseline, saving
        self._measurer = Measurer(gate, robust)
        self._together = sum(_comparable(requirement) for requirement in gate.requirements)

    def judge(self, requirement: Requirement, reproduce: str = "") -> tuple[Judged, Entry | None]:
        """The verdict on a requirement, and what a baseline keeps of it; None where it has nothing to keep.

        Args:
            requirement: of the gate.
            reproduce: a command that does it again, for the explanation.

        Raises:
            GateError: the model cannot give the metric, or the baseline does not fit.
            RobustError: the model, the data or the attack cannot be used.
        """
        drops = requirement.comparison == "max_drop_from_baseline"
        if drops and self.baseline is None and not self.saving:
            raise GateError(
                f"{self.gate.path}:{requirement.line}: {requirement.title!r} needs a baseline: give the last release's "
                "with --robust-baseline, or save one with --robust-save-baseline."
            )
        # Where one stops depends on the outcomes, so what a sequential run has seen is no sample to compare.
        compared = self.baseline is not None or self.saving
        measured = self._measurer.measure(requirement, all_images=compared)
        entry = self._entry(requirement, measured)
        change = self._change(requirement, measured, entry)
        missing = self.baseline is not None and change is None
        why = f"the metric {requirement.metric!r} is not compared image by image" if missing else ""
        doubts = (*measured.checks, *self._errors(requirement))
        judgement = reliable(judgement_of(requirement, measured, change), doubts)
        judged = Judged(self.gate, requirement, measured, judgement, change, why, reproduce, doubts)
        return judged, entry

    @cached_property
    def diagnosis(self) -> Diagnosis | None:
        """The checks on the evaluation that ``[diagnose]`` asks for, made when they are first needed.

        Raises:
            RobustError: the attack cannot run on the model.
        """
        table, gate = self.gate.diagnose, self.gate
        if table is None:
            return None
        given = {"mean": gate.mean, "std": gate.std, "images": table.images, "training": table.training}
        options: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        with placed(gate, table.line), warnings.catch_warnings():
            warnings.simplefilter("ignore", UnreliableEvaluationWarning)  # what is wrong, the checks say
            warnings.simplefilter("ignore", TrainModeWarning)  # the requirements say it
            return self.robust.diagnose(
                gate.model, gate.data, table.attack, table.eps, table.norm, **options, **table.parameters
            )

    def _errors(self, requirement: Requirement) -> tuple[str, ...]:
        """Why figures under an attack prove nothing, a sentence each."""
        if self.gate.diagnose is None or requirement.attack is None:
            return ()
        errors = self.diagnosis.errors if self.diagnosis is not None else ()
        return tuple(f"{check.name}: {check.sentence.rstrip('.')}" for check in errors)

    def _entry(self, requirement: Requirement, measured: Measurement) -> Entry | None:
        if measured.outcomes is None or not _comparable(requirement):
            return None
        first = measured.results[0]
        return Entry(
            file=self.gate.path,
            measures=requirement.measures,
            settings=_as_json(settings_of(requirement, measured)),
            data={"name": measured.data.name, "fingerprint": measured.data.fingerprint},
            model={"name": first.model, "fingerprint": self._fingerprint},
            n=len(measured.data),
            outcomes=packed(measured.outcomes.tolist()),
        )

    @cached_property
    def _fingerprint(self) -> str:
        """Of the model: what tells whether figures of an earlier run are of the same one."""
        loaded, gate = self.robust.load(self.gate.model), self.gate
        if isinstance(loaded, Defended):
            return loaded.fingerprint
        given = {"mean": gate.mean, "std": gate.std}
        normalisation: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        return self.robust.model(gate.model, gate.data, **normalisation).fingerprint

    def _change(self, requirement: Requirement, measured: Measurement, entry: Entry | None) -> Change | None:
        if self.baseline is None or entry is None or measured.outcomes is None:
            return None
        old = self.baseline.entry(entry.file, entry.measures, entry.settings, entry.model["name"])
        fingerprint = measured.data.fingerprint
        return change_from(old, requirement, measured.outcomes, fingerprint, self._together, self.gate.confidence)


def kept_by(gate: Gate) -> list[str]:
    """What a baseline of the gate holds once every requirement is measured."""
    return sorted({r.measures for r in gate.requirements if _comparable(r)})


def _comparable(requirement: Requirement) -> bool:
    """Whether the metric is a share of all images, so that two models' outcomes pair image by image."""
    return requirement.metric in ("accuracy", "error", "rejection")


def _as_json(value: Any) -> Any:
    """As a file gives it back, so that what is read equals what was written."""
    return json.loads(json.dumps(value, default=str))
