"""Hypothesis strategies of perturbations, and the property that they are drawn for: the answer does not change."""

try:
    import hypothesis as _hypothesis  # noqa: F401
except ImportError as error:
    raise ModuleNotFoundError(
        "pytest_robust.strategies needs Hypothesis, which is not installed: pip install 'pytest-robust[properties]'.",
        name="hypothesis",
    ) from error

from pytest_robust.errors import InvarianceError
from pytest_robust.strategies.balls import L0, L2, Linf
from pytest_robust.strategies.drawing import (
    blur,
    brightness,
    contrast,
    l0,
    l2,
    linf,
    occlusion,
    rotation,
    translation,
)
from pytest_robust.strategies.everyday import Blur, Brightness, Contrast, Occlusion, Rotation, Translation
from pytest_robust.strategies.invariance import assert_invariant
from pytest_robust.strategies.perturbation import Perturbation

__all__ = [
    "L0",
    "L2",
    "Blur",
    "Brightness",
    "Contrast",
    "InvarianceError",
    "Linf",
    "Occlusion",
    "Perturbation",
    "Rotation",
    "Translation",
    "assert_invariant",
    "blur",
    "brightness",
    "contrast",
    "l0",
    "l2",
    "linf",
    "occlusion",
    "rotation",
    "translation",
]
