"""Threads of torch: how many a computation takes, and that as many are there afterwards."""

from __future__ import annotations

import math
import threading

import pytest
import torch

from pytest_robust.models.classifier import Classifier
from pytest_robust.models.threads import map_in_threads, suitable_threads


@pytest.fixture(autouse=True)
def three_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("shape", "inside"), [((1, 8, 8), 1), ((3, 224, 224), 3)])
def test_tiny_images_take_one_thread(shape, inside):
    with suitable_threads(shape, torch.device("cpu")):
        assert torch.get_num_threads() == inside
    assert torch.get_num_threads() == 3


@pytest.mark.parametrize(("shape", "inside"), [((1, 8, 8), 1), ((3, 32, 32), 3)])
def test_a_classifier_answers_many_tiny_images_in_one_thread(shape, inside):
    class Counting(torch.nn.Linear):
        def forward(self, x):
            seen.append(torch.get_num_threads())
            return super().forward(x.flatten(1))

    seen = []
    classifier = Classifier(Counting(math.prod(shape), 2), num_classes=2, input_shape=shape)
    classifier.features_of(torch.rand(3, *shape), batch_size=2)
    classifier.predict(torch.rand(1, *shape))
    assert seen == [inside] * 3
    assert torch.get_num_threads() == 3


def test_as_many_calls_at_a_time_as_torch_has_threads_each_with_one():
    together = threading.Barrier(3, timeout=20)

    def call(a: int, b: int) -> tuple[int, int]:
        together.wait()  # passes only if three calls run at the same time
        return a * b, torch.get_num_threads()

    assert map_in_threads(call, range(6), range(6)) == [(k * k, 1) for k in range(6)]
    assert torch.get_num_threads() == 3


def test_an_error_comes_out_and_leaves_the_threads_as_they_were():
    with pytest.raises(ZeroDivisionError):
        map_in_threads(lambda k: 1 / k, [1, 0])
    assert torch.get_num_threads() == 3


def test_nothing_gives_nothing():
    assert map_in_threads(abs, []) == []
