"""Detectors: scikit-learn classifiers of attacked against clean images, kept as what they were fitted on.

The store keeps a detector's features and labels as arrays, and scikit-learn fits it again when it is asked something.
The other ways were looked at and left. A pickle runs whatever its writer wants. skops rebuilds objects of audited types
instead, but had holes that ran code (CVE-2025-54412, -54413, -54886), refuses a stranger's classes until each is named,
and takes two seconds to import, which is what it takes to fit an SVM on ten thousand images of twenty features. Arrays
of fitted parameters need code of their own for every kind of classifier. Features and labels suit all of them, hold
nothing that could run, and give what the installed scikit-learn gives. The price is one fit in each session.

scikit-learn is imported when a detector is fitted.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pytest_robust.errors import SettingsError
from pytest_robust.store.artifacts import Artifact, ArtifactStore
from pytest_robust.store.code import users_code_fingerprint
from pytest_robust.store.fingerprint import fingerprint

KIND = "detector"
DetectorFactory = Callable[[], Any]


def svm() -> Any:
    """SVM with RBF kernel (Monteiro et al.); the scaling, C and γ are those of their public code."""
    from sklearn.svm import SVC

    return _scaled(SVC(C=100, gamma=0.1))


def random_forest() -> Any:
    """Ten trees, which the public code of Monteiro et al. tries as well."""
    from sklearn.ensemble import RandomForestClassifier

    return _scaled(RandomForestClassifier(10, random_state=0))


def nearest_neighbours() -> Any:
    """Three neighbours, likewise."""
    from sklearn.neighbors import KNeighborsClassifier

    return _scaled(KNeighborsClassifier(3))


def _scaled(classifier: Any) -> Any:
    # In one pipeline, so that the range is that of the training images and no test image is seen.
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import MinMaxScaler

    return make_pipeline(MinMaxScaler(), classifier)


DETECTORS: Mapping[str, DetectorFactory] = {"svm": svm, "random_forest": random_forest, "knn": nearest_neighbours}


def detector_factory(name: str) -> DetectorFactory:
    """What makes an untrained detector: one of `DETECTORS`, or "module:factory" of your own.

    A factory takes nothing and gives a scikit-learn classifier with ``fit`` and with ``decision_function`` or
    ``predict_proba``; whatever is random in it needs a seed, and scaling belongs inside (``make_pipeline``).

    Raises:
        SettingsError: there is no such factory.
    """
    if name in DETECTORS:
        return DETECTORS[name]
    module, _, attribute = name.partition(":")
    try:
        factory = getattr(importlib.import_module(module), attribute) if attribute else None
    except (ImportError, AttributeError, ValueError):
        factory = None
    if not callable(factory):
        raise SettingsError(
            f"there is no detector {name!r}: write one of {', '.join(DETECTORS)}, or 'module:factory' of a function "
            "that makes an untrained scikit-learn classifier."
        )
    found: DetectorFactory = factory
    return found


@dataclass(frozen=True, eq=False)
class Detector:
    """A detector, fitted when it is first asked.

    Args:
        name: of its factory.
        features: float32 of shape (N, F): what it is fitted on.
        attacked: bool of shape (N,): its labels; both must occur.

    Raises:
        SettingsError: features that are not finite, or labels that do not fit them.
    """

    name: str
    features: Tensor
    attacked: Tensor

    def __post_init__(self) -> None:
        if self.features.ndim != 2 or self.attacked.shape != self.features.shape[:1]:
            raise SettingsError(
                f"the detector {self.name!r} needs features (N, F) and N labels, not {tuple(self.features.shape)} and "
                f"{tuple(self.attacked.shape)}."
            )
        if not torch.isfinite(self.features).all():
            raise SettingsError(f"the detector {self.name!r} cannot learn from features that are not finite.")
        if self.attacked.unique().numel() != 2:
            raise SettingsError(
                f"the detector {self.name!r} needs attacked and clean images, but of {len(self.attacked)} "
                f"{int(self.attacked.sum())} are attacked: choose an attack that fools these networks, or more images."
            )

    @cached_property
    def fitted(self) -> Any:
        """The scikit-learn classifier; labels are 0 (clean) and 1 (attacked)."""
        classifier = detector_factory(self.name)()
        return classifier.fit(self.features.double().numpy(), self.attacked.long().numpy())

    def score(self, features: Tensor) -> Tensor:
        """How suspicious each row of `features` (N, F) is, float32 of shape (N,) on its device; above 0 is "attacked".

        The decision function; of a classifier without one, the probability of "attacked" minus ½.
        """
        rows = features.detach().cpu().double().numpy()
        if len(rows) == 0:
            return torch.zeros(0, device=features.device)
        if hasattr(self.fitted, "decision_function"):
            values = self.fitted.decision_function(rows)
        else:
            values = self.fitted.predict_proba(rows)[:, 1] - 0.5
        return torch.from_numpy(np.asarray(values, dtype=np.float32)).to(features.device)

    @cached_property
    def fingerprint(self) -> str:
        """Of the factory, its code, what it is fitted on, and scikit-learn's version."""
        code = users_code_fingerprint(detector_factory(self.name))
        return fingerprint([self.name, code, version("scikit-learn"), self.features, self.attacked])


def load_or_fit(
    name: str, store: ArtifactStore, causes: Any, make: Callable[[], tuple[Tensor, Tensor]]
) -> tuple[Detector, bool]:
    """The detector on the features and labels that `causes` determine; True if these were made now.

    Args:
        name: of the factory, as in `detector_factory`.
        store: where features and labels are kept between sessions.
        causes: plain data that determines them: networks, attacks, images.
        make: gives features, float (N, F), and labels, bool (N,), if the store has none.

    Raises:
        SettingsError: no such factory, or data that no detector can be fitted on.
    """
    detector_factory(name)

    def build() -> Artifact:
        features, attacked = make()
        made = Detector(name, features.detach().cpu().float(), attacked.cpu())
        return Artifact({"features": made.features.contiguous(), "attacked": made.attacked.contiguous()}, {})

    artifact, built = store.get_or_build(KIND, fingerprint([KIND, 1, causes]), build)
    return Detector(name, artifact.tensors["features"], artifact.tensors["attacked"]), built
