"""What a wrong verdict would come from: test images in a training set, or one defense judged by another's decisions."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pytest_robust.bench.bench import Bench
from pytest_robust.data.split import Split
from pytest_robust.defenses.dustbin import Dustbin
from pytest_robust.errors import SettingsError

MakeBench = Callable[..., Bench]


def pixels(*splits: Split) -> set[bytes]:
    return {row.numpy().tobytes() for split in splits for row in split.x}


def test_no_network_is_trained_on_a_test_image(make_bench: MakeBench) -> None:
    bench = make_bench()
    forbidden = pixels(bench.dataset.test, bench.out_distribution.test)
    for recipe in (bench.undefended_recipe, bench.surrogate_recipe, Dustbin().recipe(bench)):
        used = pixels(*recipe.data, *([recipe.validation] if recipe.validation is not None else []))
        assert not used & forbidden, recipe.title


def test_validation_images_are_not_trained_on(make_bench: MakeBench) -> None:
    bench = make_bench().with_profile(validation_images=100, train_images=500)
    assert bench.validation_split is not None
    held_out, trained = pixels(bench.validation_split), pixels(*bench.undefended_recipe.data)
    shared = pixels(bench.dataset.train)
    # The data set may hold an image twice; no image is in both parts more often than the data set repeats itself.
    assert len(held_out & trained) <= len(bench.dataset.train) - len(shared)


def test_two_models_with_one_fingerprintless_name_keep_their_own_decisions(make_bench: MakeBench) -> None:
    bench = make_bench()
    one, other = (bench.train(bench.recipe(epochs=epochs, name="same")) for epochs in (0, 8))
    rates = [bench.evaluate(network).accuracy.value for network in (one, other)]
    assert rates[0] < 0.5 < rates[1]
    again = [make_bench().evaluate(network).accuracy.value for network in (one, other)]
    assert again == rates


def test_two_defenses_with_parameters_that_print_alike_are_two(make_bench: MakeBench) -> None:
    bench = make_bench()
    close = [bench.defend(Dustbin(out_distribution=share, interpolated=0.0)) for share in (0.1234567, 0.12345678)]
    assert close[0] is not close[1]


def test_rates_on_different_images_are_not_paired(make_bench: MakeBench) -> None:
    bench = make_bench()
    first, second = (bench.test_split.subset(range(start, start + 40)) for start in (0, 40))
    defended = bench.defend("none")
    with pytest.raises(SettingsError, match="different images"):
        bench.evaluate(defended, first).accuracy_minus(bench.evaluate(defended, second))
