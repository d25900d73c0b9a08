"""pytest, for adversarial robustness.

The names below are imported on first use (PEP 562), so that ``import pytest_robust`` costs nothing: torch and
ART are loaded when something needs them, never because pytest started.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import pytest

# pytest finds the modules to rewrite in the wheel's RECORD; an editable install's RECORD lists none of them.
pytest.register_assert_rewrite("pytest_robust.claims", "pytest_robust.defenses", "pytest_robust.fixtures")

if TYPE_CHECKING:
    from pytest_robust.attacks.adversarial_set import AdversarialSet as AdversarialSet
    from pytest_robust.attacks.attack import Attack as Attack
    from pytest_robust.bench.bench import Bench as Bench
    from pytest_robust.bench.defense import Defense as Defense
    from pytest_robust.bench.settings import Settings as Settings
    from pytest_robust.claims.claim import Claim as Claim
    from pytest_robust.data.dataset import Dataset as Dataset
    from pytest_robust.data.image_folder import ImageFolder as ImageFolder
    from pytest_robust.data.split import Split as Split
    from pytest_robust.diagnosis.diagnose import diagnose as diagnose
    from pytest_robust.diagnosis.diagnosis import Diagnosis as Diagnosis
    from pytest_robust.errors import RobustError as RobustError
    from pytest_robust.evaluation.evaluation import Evaluation as Evaluation
    from pytest_robust.evaluation.perceptual import pass_score as pass_score
    from pytest_robust.evaluation.perceptual import perceptual_metrics as perceptual_metrics
    from pytest_robust.evaluation.rate import Rate as Rate
    from pytest_robust.evaluation.ssim import ssim as ssim
    from pytest_robust.evaluation.verdict import Verdict as Verdict
    from pytest_robust.gate.result import Result as Result
    from pytest_robust.gate.robust import Robust as Robust
    from pytest_robust.models.classifier import Classifier as Classifier
    from pytest_robust.models.family import Family as Family
    from pytest_robust.models.family import Member as Member
    from pytest_robust.models.recipe import Recipe as Recipe
    from pytest_robust.models.resized import ResizedInput as ResizedInput
    from pytest_robust.store.artifacts import ArtifactStore as ArtifactStore
    from pytest_robust.studies.portability import PortabilityMatrix as PortabilityMatrix
    from pytest_robust.studies.ranking import RobustnessRanking as RobustnessRanking
    from pytest_robust.threats.decision import Decision as Decision
    from pytest_robust.threats.defended import Defended as Defended
    from pytest_robust.threats.defended import ThreatModel as ThreatModel

_HOME = {
    "AdversarialSet": "pytest_robust.attacks.adversarial_set",
    "ArtifactStore": "pytest_robust.store.artifacts",
    "Attack": "pytest_robust.attacks.attack",
    "Bench": "pytest_robust.bench.bench",
    "Claim": "pytest_robust.claims.claim",
    "Classifier": "pytest_robust.models.classifier",
    "Dataset": "pytest_robust.data.dataset",
    "Decision": "pytest_robust.threats.decision",
    "Defended": "pytest_robust.threats.defended",
    "Defense": "pytest_robust.bench.defense",
    "Diagnosis": "pytest_robust.diagnosis.diagnosis",
    "Evaluation": "pytest_robust.evaluation.evaluation",
    "Family": "pytest_robust.models.family",
    "ImageFolder": "pytest_robust.data.image_folder",
    "Member": "pytest_robust.models.family",
    "PortabilityMatrix": "pytest_robust.studies.portability",
    "Rate": "pytest_robust.evaluation.rate",
    "Recipe": "pytest_robust.models.recipe",
    "ResizedInput": "pytest_robust.models.resized",
    "Result": "pytest_robust.gate.result",
    "Robust": "pytest_robust.gate.robust",
    "RobustError": "pytest_robust.errors",
    "RobustnessRanking": "pytest_robust.studies.ranking",
    "Settings": "pytest_robust.bench.settings",
    "Split": "pytest_robust.data.split",
    "ThreatModel": "pytest_robust.threats.defended",
    "Verdict": "pytest_robust.evaluation.verdict",
    "diagnose": "pytest_robust.diagnosis.diagnose",
    "pass_score": "pytest_robust.evaluation.perceptual",
    "perceptual_metrics": "pytest_robust.evaluation.perceptual",
    "ssim": "pytest_robust.evaluation.ssim",
}

__all__ = [*sorted(_HOME), "__version__"]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("pytest-robust")
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
