"""The papers' adaptive rows: a cascade on the surfaces that a defense offers, and words that say what was done."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from pytest_robust.attacks.catalogue import PGD
from pytest_robust.bench.cascade import Stage
from pytest_robust.models.classifier import Classifier
from pytest_robust.threats.defended import Defended, network_alone

SUITE = Path(__file__).parents[2] / "robustness_tests"


def linear(name: str) -> Classifier:
    return Classifier(nn.Sequential(nn.Flatten(), nn.Linear(4, 3)), num_classes=3, input_shape=(1, 2, 2), name=name)


def test_words_say_what_was_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SUITE))
    from study import PaperStudy

    plain = network_alone(linear("plain"), "plain")
    assert PaperStudy.in_words(plain, "BIM") == (
        "per image the worst of PGD with 10 restarts, PGD at each wrong class and BIM"
    )
    assert PaperStudy.in_words(replace(plain, random_by_image=True), "ascent", restarts=1) == (
        "per image the worst of PGD with one start, PGD at each wrong class, 60 redraws of its random numbers "
        "and ascent"
    )


def test_each_surface_that_is_offered_is_attacked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SUITE))
    from study import SURFACES, PaperStudy

    whole, scaled = linear("whole"), linear("scaled")
    defended = network_alone(whole, "ensemble")
    defended = replace(defended, surfaces={**defended.surfaces, "scaled": scaled})
    given: list[Stage] = []

    def worst_case(_: Defended, stages: list[Stage], *_images: object, **_before: object) -> None:
        given.extend(stages)

    bench = SimpleNamespace(dataset=SimpleNamespace(num_classes=3), worst_case=worst_case)
    PaperStudy.worst_case(SimpleNamespace(bench=bench), defended, SURFACES, PGD, None, {"bim": torch.zeros(0)})
    # The adaptive surface and the white box are one network here.
    assert [stage.surface for stage in given] == [whole, scaled] * 3
    assert [stage.attack.params["num_random_init"] for stage in given] == [10, 10, 1, 1, 1, 1]
