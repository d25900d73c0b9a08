"""The SVM in torch equals scikit-learn's, and its gradient is the one that finite differences give."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.svm import SVC

from pytest_robust.errors import SettingsError
from pytest_robust.models.kernel_machine import KernelMachine, is_kernel_machine


def fitted(scaler: Any, seed: int = 0, n: int = 120, **settings: Any) -> tuple[Any, torch.Tensor]:
    """A pipeline on points that overlap, so that many vectors support it; and other points."""
    g = torch.Generator().manual_seed(seed)
    x = torch.rand(n, 20, generator=g)
    y = (x[:, 0] + torch.randn(n, generator=g) > 0.5).long()
    pipeline = make_pipeline(scaler, SVC(**{"C": 100, "gamma": 0.1, **settings})).fit(x.double().numpy(), y.numpy())
    return pipeline, torch.rand(50, 20, generator=g) * 2 - 0.5


@settings(max_examples=20, deadline=None)
@given(
    st.integers(0, 2**31),
    st.sampled_from(
        [MinMaxScaler(), StandardScaler(), StandardScaler(with_mean=False), StandardScaler(with_std=False)]
    ),
)
def test_it_is_scikit_learns_decision_function(seed: int, scaler: Any) -> None:
    pipeline, asked = fitted(scaler, seed)
    expected = torch.from_numpy(pipeline.decision_function(asked.double().numpy())).float()
    assert torch.allclose(KernelMachine(pipeline)(asked), expected, atol=1e-4)


def test_the_gradient_is_that_of_finite_differences() -> None:
    pipeline, asked = fitted(MinMaxScaler())
    machine, x = KernelMachine(pipeline), asked[:4].double().requires_grad_(True)
    assert torch.autograd.gradcheck(machine, (x,), eps=1e-6, atol=1e-5)


@pytest.mark.parametrize(
    "settings", [{"kernel": "linear"}, {"kernel": "poly"}, {"gamma": "scale"}], ids=lambda s: str(s)
)
def test_another_kernel_is_refused(settings: dict[str, Any]) -> None:
    pipeline, _ = fitted(MinMaxScaler(), **settings)
    assert not is_kernel_machine(pipeline)
    with pytest.raises(SettingsError, match="only a scaled SVM with RBF kernel"):
        KernelMachine(pipeline)


def test_a_scaler_that_clips_is_refused() -> None:
    pipeline, _ = fitted(MinMaxScaler(clip=True))
    assert not is_kernel_machine(pipeline)
