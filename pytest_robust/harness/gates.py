"""robust.toml as a test file: an item for each requirement, and one for the checks on the evaluation."""

from __future__ import annotations

import os
import shlex
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from pytest_robust.errors import RobustError
from pytest_robust.harness.failures import wants_traceback
from pytest_robust.harness.pictures import picture_of
from pytest_robust.harness.records import record_diagnosis, record_requirement
from pytest_robust.harness.session import RobustSession, session_of
from pytest_robust.harness.usage import MARKER

if TYPE_CHECKING:
    from pytest_robust.gate.requirements import Gate, Requirement
    from pytest_robust.gate.run import GateRun


class RequirementFailed(pytest.fail.Exception):  # type: ignore[misc, name-defined]  # pytest makes it at run time
    """A requirement that the model does not meet, or of which that is not known."""

    __module__ = "builtins"  # as pytest's own outcomes do it, so that summaries print the name alone


class GateFile(pytest.File):
    """A robust.toml."""

    def collect(self) -> Iterator[pytest.Item]:
        """An item for each requirement, and one for ``[diagnose]``.

        Raises:
            pytest.Collector.CollectError: something in the file cannot be right.
        """
        for requirement in self.gate.requirements:
            yield RequirementItem.from_parent(self, name=requirement.title, requirement=requirement)
        if self.gate.diagnose is not None:
            yield DiagnoseItem.from_parent(self, name="diagnose")

    @cached_property
    def gate(self) -> Gate:
        """The file's content; errors as of `collect`."""
        from pytest_robust.gate.reading import Attacks, read_gate

        registry = self.session_state.registries.attacks

        def parameters(name: str) -> Collection[str]:
            from pytest_robust.gate.attacks import parameters_of

            return parameters_of(registry, name)

        def check_value(name: str, key: str, value: Any) -> None:
            from pytest_robust.gate.attacks import check_parameter

            check_parameter(registry, name, key, value)

        where = os.path.relpath(self.path, self.config.rootpath).replace(os.sep, "/")
        try:
            return read_gate(self.path, where, Attacks(registry.check, parameters, check_value))
        except RobustError as error:
            raise self.CollectError(str(error)) from None

    @property
    def session_state(self) -> RobustSession:
        """This plugin's state of the session."""
        return session_of(self.config)

    @cached_property
    def run(self) -> GateRun:
        """The gate that is being judged, made when its first item runs; errors as of the bench."""
        bench, options = self.session_state.bench, self.session_state.options
        from pytest_robust.gate.robust import Robust
        from pytest_robust.gate.run import GateRun

        robust = Robust(bench, root=self.path.parent)
        return GateRun(self.gate, robust, self.session_state.baseline, saving=options.save_baseline is not None)


class GateItem(pytest.Item):
    """A test of a gate."""

    parent: GateFile
    line = 1

    def reportinfo(self) -> tuple[os.PathLike[str], int, str]:
        """Where it stands in the file."""
        # pytest takes a name that ends the node id for Python's, and writes 0::9 for 0.9.
        return self.path, self.line - 1, f"robust.toml: {self.name}"

    @property
    def command(self) -> str:
        """What runs this test alone."""
        options, here = self.parent.session_state.options, self.config.invocation_params.dir
        words = ["pytest", shlex.quote(f"{os.path.relpath(self.path, here)}::{self.name}")]
        if options.seed:
            words.append(f"--robust-seed={options.seed}")
        if options.baseline is not None:
            words.append(f"--robust-baseline={shlex.quote(os.path.relpath(options.baseline, here))}")
        return " ".join(words)

    def is_about(self, attack: str | None) -> None:
        """Let ``--attack`` select it, as a marked test; what names no attack always runs."""
        if attack is not None:
            self.add_marker(getattr(pytest.mark, MARKER)(attack=attack))

    @contextmanager
    def errors_recorded(self) -> Iterator[None]:
        """Let reports have any error inside: what is missing from them would be taken for what is met."""
        __tracebackhide__ = True
        try:
            yield
        except RobustError as error:
            self.record_error(str(error))
            self.give_up(error)
        except Exception as error:
            self.record_error(f"{type(error).__name__}: {error}")
            raise

    def record_error(self, reason: str) -> None:
        """Let reports say that nothing could be judged, and why."""
        raise NotImplementedError

    def give_up(self, error: RobustError) -> NoReturn:
        """Fail where nothing can be judged: by the error's sentence, with the whole traceback for who asks for it."""
        __tracebackhide__ = True
        whole = wants_traceback(self.config)
        raise RequirementFailed(str(error), pytrace=whole) from (error if whole else None)

    def end(self, outcome: str, sentence: str, explanation: str) -> None:
        """Pass, skip or fail."""
        __tracebackhide__ = True
        if outcome == "skip":
            pytest.skip(sentence)
        if outcome == "fail":
            raise RequirementFailed(explanation, pytrace=False)


class RequirementItem(GateItem):
    """One requirement."""

    def __init__(self, *, requirement: Requirement, **others: Any) -> None:
        super().__init__(**others)
        self.requirement, self.line = requirement, requirement.line
        self.is_about(requirement.attack)

    def runtest(self) -> None:
        """Measure, judge, record.

        Raises:
            RequirementFailed: the verdict does not let the release pass, or nothing can be measured. Data that are
                missing are no reason to skip: a gate that cannot tell does not open.
        """
        __tracebackhide__ = True
        with self.errors_recorded():
            judged, entry = self.parent.run.judge(self.requirement, self.command)
        from pytest_robust.gate.run import kept_by

        problem = ""
        if judged.outcome != "pass":
            folder = self.parent.session_state.options.report
            # A title is there once in a file, and stays where lines above it are added.
            picture = picture_of(
                folder, f"{self.parent.gate.path}-{self.name}", self.name, judged.measurement.worst_images
            )
            judged, problem = replace(judged, picture=picture.name), picture.problem
        row = {**judged.as_dict(), "gate_keeps": kept_by(self.parent.gate)}
        record_requirement(self, row, entry and asdict(entry))
        self.end(judged.outcome, judged.sentence(), judged.explain() + (problem and f"\n  {problem}"))

    def record_error(self, reason: str) -> None:
        """Let reports say that nothing was measured, and why."""
        unmeasured = {"requirement": self.name, "file": self.parent.gate.path, "verdict": "error", "outcome": "fail"}
        record_requirement(self, {**unmeasured, "reason": reason}, None)


class DiagnoseItem(GateItem):
    """The checks on the evaluation itself."""

    def __init__(self, **others: Any) -> None:
        super().__init__(**others)
        table = self.parent.gate.diagnose
        self.line = 1 if table is None else table.line
        self.is_about(None if table is None else table.attack)

    def runtest(self) -> None:
        """Run the checks, record them.

        Raises:
            RequirementFailed: figures under the attack prove nothing, or the checks cannot be run.
        """
        __tracebackhide__ = True
        with self.errors_recorded():
            diagnosis = self.parent.run.diagnosis
        if diagnosis is None:
            return
        flagged = "\n".join(f"  {check}" for check in diagnosis.flagged)
        outcome = self.parent.gate.unreliable if diagnosis.errors else "pass"
        record = {**diagnosis.as_dict(), "file": self.parent.gate.path, "title": diagnosis.title, "outcome": outcome}
        record_diagnosis(self, {**record, "markdown": diagnosis.markdown(), "flagged": flagged})
        self.end(outcome, diagnosis.title, f"{diagnosis.title}\n{flagged}")

    def record_error(self, reason: str) -> None:
        """Let reports say that the checks could not be run, and why."""
        record = {"file": self.parent.gate.path, "title": "the evaluation: they could not be run", "sound": False}
        shown = {"outcome": "fail", "error": reason, "markdown": reason, "flagged": f"  {reason}"}
        record_diagnosis(self, {**record, **shown})
