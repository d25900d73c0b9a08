"""How well a scikit-learn classifier tells attacked images from clean ones, on images that it was not trained on."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pytest_robust.errors import SettingsError
from pytest_robust.evaluation.auroc import Auroc, share_below
from pytest_robust.evaluation.mean import Mean, paired_mean_difference, sums_by_image
from pytest_robust.evaluation.rate import CONFIDENCE, Rate

#: Makes an untrained classifier with `fit`, `predict`, and `decision_function` or `predict_proba`. What it learns from
#: the data, scaling included, belongs inside it (scikit-learn's `make_pipeline`), so that no test image is seen.
DetectorFactory = Callable[[], Any]


@dataclass(frozen=True)
class F1:
    """F1 = 2·TP / (2·TP + FP + FN), with the exact interval of the binomial rate that it is a function of.

    TP / (TP + FP + FN) is a rate among the entries that are positive or called so; F1 = 2r / (1 + r) grows with it
    (Hand, Christen & Kirielle, Machine Learning 110, 2021, 451–456), so that the ends of r's Clopper–Pearson interval
    become those of F1.

    Args:
        rate: TP of TP + FP + FN.
    """

    rate: Rate

    @property
    def value(self) -> float:
        """The score; NaN where no entry is positive or called so."""
        return _f1(self.rate.value)

    @property
    def lower(self) -> float:
        """Lower end of the interval."""
        return _f1(self.rate.lower)

    @property
    def upper(self) -> float:
        """Upper end of the interval."""
        return _f1(self.rate.upper)

    @property
    def n(self) -> int:
        """Entries that are positive or called so."""
        return self.rate.n

    def at(self, n: int) -> F1:
        """The same score on `n` such entries."""
        return F1(self.rate.at(n))

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.rate.confidence:.0%} CI {self.lower:.3f}–{self.upper:.3f}, n={self.n})"


@dataclass(frozen=True, eq=False)
class Detection:
    """What detectors said of entries that they were not trained on.

    The intervals take the detectors as they are. The folds of a cross-validation share training images, and what other
    training images would have changed is not in them (no unbiased estimate of that exists: Bengio & Grandvalet, JMLR 5,
    2004). Simulated with an RBF SVM on 200 entries in 10 folds, the 95 % intervals of accuracy, F1 and AUC held the
    mean over repetitions in 92–96 % of runs where there was something to learn (accuracy 0.68 or 0.83), but in 76–86 %
    where there was nothing. Whether a detector beats chance is therefore asked of `over_trivial` (94 % there).

    Args:
        labels: bool of shape (N,): attacked.
        predicted: bool of shape (N,): called attacked.
        score: float64 of shape (N,), higher is more suspicious; comparable inside a fold only.
        fold: int64 of shape (N,): which detector answered.
        groups: int64 of shape (N,): which original each entry was made from, where some share one; else None.
        confidence: of the intervals.
    """

    labels: Tensor
    predicted: Tensor
    score: Tensor
    fold: Tensor
    groups: Tensor | None = None
    confidence: float = CONFIDENCE

    @property
    def correct(self) -> Tensor:
        """Bool of shape (N,)."""
        return self.predicted == self.labels

    @property
    def accuracy(self) -> Rate:
        """The share of entries told right."""
        return self._rate(self.correct, torch.ones_like(self.labels))

    @property
    def f1(self) -> F1:
        """F1 of "attacked", from the folds' pooled counts (Forman & Scholz, SIGKDD Explorations 12, 2010, 49–57)."""
        return F1(self._rate(self.labels & self.predicted, self.labels | self.predicted))

    @property
    def auc(self) -> Auroc:
        """Mean of the folds' AUROCs, because scores of different detectors do not compare (Forman & Scholz, 2010).

        DeLong's variance, with entries that share an original summed (Obuchowski, Biometrics 53, 1997, 567–578).
        """
        folds = [f for f in self.fold.unique().tolist() if self.labels[self.fold == f].unique().numel() == 2]
        if not folds:  # grouped folds may hold one label only, and of such there is no area
            return Auroc(math.nan, 0.0, 1.0, 0, self.confidence)
        area, influence = 0.0, torch.zeros(len(self.labels), dtype=torch.float64)
        for fold in folds:
            positive, negative = (((self.fold == fold) & (self.labels == attacked)) for attacked in (True, False))
            above = share_below(self.score[positive], self.score[negative])
            below = 1 - share_below(self.score[negative], self.score[positive])
            area += float(above.mean()) / len(folds)
            influence[positive] = (above - above.mean()) / (len(above) * len(folds))
            influence[negative] = (below - below.mean()) / (len(below) * len(folds))
        shared = influence if self.groups is None else sums_by_image(influence, self.groups)
        variance = float(shared.square().sum()) * len(shared) / max(1, len(shared) - 1)
        independent = [self._independent(mask) for mask in (self.labels, ~self.labels)]
        return Auroc.of_variance(min(area, 1.0), variance, min(independent), len(self.labels), self.confidence)

    @property
    def over_trivial(self) -> Mean:
        """Accuracy minus that of the better detector that always says the same, paired on the entries."""
        attacked = int(self.labels.sum()) * 2 >= len(self.labels)
        trivial = self.labels if attacked else ~self.labels
        return paired_mean_difference(self.correct, trivial, self.groups, self.confidence)

    def _independent(self, mask: Tensor) -> int:
        return int(mask.sum()) if self.groups is None else int(self.groups[mask].unique().numel())

    def _rate(self, true: Tensor, among: Tensor) -> Rate:
        independent = None if self.groups is None else self._independent(among)
        return Rate.of(true[among], confidence=self.confidence, independent=independent)


def cross_validated(
    detector_factory: DetectorFactory,
    features: Tensor,
    labels: Tensor,
    folds: int,
    seed: int,
    groups: Tensor | None = None,
) -> Detection:
    """Every entry answered by a detector that was trained on the other folds.

    Folds are stratified by label. The same seed makes the same folds; a detector that draws random numbers needs a
    seed of its own from the factory.

    Args:
        detector_factory: makes an untrained detector for each fold.
        features: float of shape (N, …), one row an entry; flattened.
        labels: bool, or 0 and 1, of shape (N,): attacked.
        folds: K, 2 or more.
        seed: of the division into folds.
        groups: int64 of shape (N,): which original each entry was made from; entries that share one share a fold.

    Raises:
        SettingsError: the lengths differ, features or labels cannot be right, or too few entries for so many folds.
    """
    x, y, image = _checked(features, labels, groups)
    _check_folds(y, image, folds)
    predicted, score = torch.zeros(len(y), dtype=torch.bool), torch.zeros(len(y), dtype=torch.float64)
    fold = torch.zeros(len(y), dtype=torch.int64)
    for number, (train, test) in enumerate(_splits(x, y, image, folds, seed)):
        held = torch.from_numpy(test)
        predicted[held], score[held] = _answers(detector_factory().fit(x[train], y[train]), x[test])
        fold[held] = number
    return Detection(torch.from_numpy(y).bool(), predicted, score, fold, groups=image)


def detect(detector: Any, features: Tensor, labels: Tensor, groups: Tensor | None = None) -> Detection:
    """What a trained detector says of entries that it was not trained on: an attack it has not seen, for example.

    Args:
        detector: trained on labels 0 (clean) and 1 (attacked).
        features, labels, groups: as in `cross_validated`.

    Raises:
        SettingsError: the lengths differ, or features or labels cannot be right.
    """
    x, y, image = _checked(features, labels, groups)
    predicted, score = _answers(detector, x)
    return Detection(torch.from_numpy(y).bool(), predicted, score, torch.zeros(len(y), dtype=torch.int64), image)


def _answers(detector: Any, x: np.ndarray) -> tuple[Tensor, Tensor]:
    known = hasattr(detector, "decision_function")
    score = detector.decision_function(x) if known else detector.predict_proba(x)[:, 1]
    return torch.from_numpy(detector.predict(x)).bool(), torch.from_numpy(np.asarray(score, dtype=np.float64))


def _splits(
    x: np.ndarray, y: np.ndarray, groups: Tensor | None, folds: int, seed: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    if groups is None:
        yield from StratifiedKFold(folds, shuffle=True, random_state=seed).split(x, y)
    else:
        yield from StratifiedGroupKFold(folds, shuffle=True, random_state=seed).split(x, y, groups.numpy())


def _checked(features: Tensor, labels: Tensor, groups: Tensor | None) -> tuple[np.ndarray, np.ndarray, Tensor | None]:
    n = len(features)
    if labels.shape != (n,) or (groups is not None and groups.shape != (n,)):
        raise SettingsError(f"a detector needs one label, and one group if any, for each of the {n} entries.")
    x = features.detach().cpu().flatten(1).double()
    y = labels.cpu().long()
    if not torch.isfinite(x).all():
        raise SettingsError("a detector cannot learn from features that are not finite: find where they overflow.")
    if y.unique().tolist() != [0, 1]:
        raise SettingsError(f"a detector tells 0 (clean) from 1 (attacked), but the labels are {y.unique().tolist()}.")
    return x.numpy(), y.numpy(), None if groups is None else groups.cpu()


def _check_folds(y: np.ndarray, groups: Tensor | None, folds: int) -> None:
    labels = torch.from_numpy(y)
    each = [int((labels == c).sum()) if groups is None else len(groups[labels == c].unique()) for c in (0, 1)]
    if not 2 <= folds <= min(each):
        raise SettingsError(
            f"{folds} folds need 2 or more, and as many originals of either label; there are {each[0]} clean and "
            f"{each[1]} attacked ones."
        )


def _f1(rate: float) -> float:
    return 2 * rate / (1 + rate)
