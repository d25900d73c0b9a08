"""The decision function of scikit-learn's scaled RBF-kernel SVM, in torch, so that a gradient goes through it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from pytest_robust.errors import SettingsError


class KernelMachine(nn.Module):
    """Σᵢ aᵢ exp(−γ‖s(x) − vᵢ‖²) + b, with s the scaling, vᵢ the support vectors.

    In float64: with C = 100 a thousand terms of a hundred cancel, which leaves float32 no decimal places.

    Args:
        pipeline: fitted ``make_pipeline(MinMaxScaler() or StandardScaler(), SVC(kernel="rbf", gamma=number))`` of two
            classes.

    Raises:
        SettingsError: another classifier.
    """

    support: Tensor
    weight: Tensor
    intercept: Tensor
    gamma: Tensor
    factor: Tensor
    offset: Tensor

    def __init__(self, pipeline: Any) -> None:
        super().__init__()
        if not is_kernel_machine(pipeline):
            raise SettingsError(
                f"only a scaled SVM with RBF kernel and a number as gamma has its gradient here, not {pipeline!r}."
            )
        scaler, machine = (step for _, step in pipeline.steps)
        factor, offset = _affine(scaler)
        arrays = {
            "support": machine.support_vectors_,
            "weight": machine.dual_coef_[0],
            "intercept": machine.intercept_[0],
            "gamma": machine.gamma,
            "factor": factor,
            "offset": offset,
        }
        for name, values in arrays.items():
            self.register_buffer(name, torch.as_tensor(values, dtype=torch.float64).clone())

    def forward(self, features: Tensor) -> Tensor:
        """The decision function of float features (N, F), float of their dtype and of shape (N,); > 0 is class 1."""
        x = features.double() * self.factor + self.offset
        # Expanded, so that no (N, support vectors, F) array exists.
        squares = x.square().sum(1)[:, None] + self.support.square().sum(1) - 2 * x @ self.support.T
        kernel = torch.exp(-self.gamma * squares.clamp(min=0))
        return (kernel @ self.weight + self.intercept).to(features.dtype)


def is_kernel_machine(classifier: Any) -> bool:
    """Whether a fitted scikit-learn classifier is what `KernelMachine` takes."""
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import MinMaxScaler, StandardScaler
    from sklearn.svm import SVC

    if not (isinstance(classifier, Pipeline) and len(classifier.steps) == 2):
        return False
    scaler, machine = (step for _, step in classifier.steps)
    known = isinstance(scaler, (MinMaxScaler, StandardScaler)) and isinstance(machine, SVC)
    if not known or getattr(scaler, "clip", False):
        return False
    return machine.kernel == "rbf" and not isinstance(machine.gamma, str) and len(machine.classes_) == 2


def _affine(scaler: Any) -> tuple[Any, Any]:
    """Factor and offset of a scaler, of shape (F,) each: scaled = features · factor + offset."""
    if hasattr(scaler, "min_"):
        return scaler.scale_, scaler.min_
    factor = 1 / scaler.scale_ if scaler.with_std else torch.ones(scaler.n_features_in_).numpy()
    return factor, -scaler.mean_ * factor if scaler.with_mean else 0 * factor
