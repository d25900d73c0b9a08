"""The ensembles paper's study, apart from a run of it: what counts as right."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from pytest_robust.bench.bench import Bench
from pytest_robust.bench.settings import Settings
from pytest_robust.models.classifier import Classifier

SUITE = Path(__file__).parents[2] / "robustness_tests"


class Wavers(nn.Module):
    """Class 0 in a small batch, class 1 in a large one."""

    def forward(self, x: Tensor) -> Tensor:
        scores = torch.zeros(len(x), 10).scatter(1, torch.full((len(x), 1), int(len(x) > 200)), 1.0)
        return scores + 1e-3 * x.flatten(1)[:, :10]


def test_a_members_accuracy_is_the_share_of_right_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An image whose answer wavers with the batch is no success of the attack; that does not make it right."""
    monkeypatch.syspath_prepend(str(SUITE))
    from ensembles_study import EnsemblesStudy

    bench = Bench(Settings(cache=tmp_path, device="cpu"))
    member = Classifier(Wavers(), num_classes=10, input_shape=(1, 8, 8)).requires_grad_(False)
    study = SimpleNamespace(
        bench=bench,
        defended=lambda _: SimpleNamespace(networks={"member_1": member}),
        attack=lambda name: bench.attack_named(name, eps=0.01),
    )
    y = bench.test_split.y
    right = float((member.predict(bench.test_split.x) == y).float().mean())
    assert EnsemblesStudy.member_accuracies(study, "random_init", "fgsm") == [pytest.approx(right)]
    assert right < float(((y == 0) | (y == 1)).float().mean())  # what is not a success
