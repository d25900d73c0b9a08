"""Models whose smallest adversarial perturbation is known, and a small trained one."""

from __future__ import annotations

import pytest
import torch
from linear_case import LinearCase

from pytest_robust.attacks.common_checks import toy_classifier, toy_split
from pytest_robust.data.split import Split
from pytest_robust.models.classifier import Classifier


@pytest.fixture(scope="session")
def two_classes() -> LinearCase:
    """With two classes, one step along the gradient is the whole answer."""
    return LinearCase(2)


@pytest.fixture(scope="session")
def five_classes() -> LinearCase:
    return LinearCase(5)


@pytest.fixture(scope="session")
def toy() -> Classifier:
    return toy_classifier()


@pytest.fixture(scope="session")
def toy_images() -> Split:
    return toy_split(40, seed=5)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """These images are tiny; two threads only wait for each other."""
    torch.set_num_threads(1)
