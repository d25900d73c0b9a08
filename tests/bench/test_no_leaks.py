"""What a wrong verdict would come from: test images in a training set, or one defense judged by another's decisions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from pytest_robust.bench.bench import Bench
from pytest_robust.catalogue import builtin_defenses
from pytest_robust.data.split import Split
from pytest_robust.defenses import dropout_autoencoder, mismatch
from pytest_robust.defenses.dustbin import Dustbin
from pytest_robust.errors import SettingsError
from pytest_robust.models.classifier import Classifier
from pytest_robust.models.recipe import Recipe

MakeBench = Callable[..., Bench]


def pixels(*splits: Split) -> set[bytes]:
    return {row.numpy().tobytes() for split in splits for row in split.x}


class Recording(Bench):
    """A bench that writes down every recipe it trains, and trains it for a few epochs only."""

    def train(self, recipe: Recipe) -> Classifier:
        self.__dict__.setdefault("recipes", []).append(recipe)
        return super().train(replace(recipe, epochs=min(recipe.epochs, 3)))

    def train_all(self, recipes: Sequence[Recipe]) -> list[Classifier]:
        return [self.train(recipe) for recipe in recipes]


def used_by(recipe: Recipe) -> set[bytes]:
    """Every image that the training sees: data, validation images, and a companion that is images."""
    used = pixels(*recipe.data, *([recipe.validation] if recipe.validation is not None else []))
    companion = recipe.companion
    return used if companion is None or companion.ndim != 4 else used | {row.numpy().tobytes() for row in companion}


@pytest.mark.parametrize("name", builtin_defenses())
def test_no_network_is_trained_on_a_test_image(
    make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    for module in (mismatch, dropout_autoencoder):
        monkeypatch.setitem(module.IMAGES, "quick", 200)
    bench = Recording(make_bench().settings)
    defended = bench.defend(name)
    forbidden = pixels(bench.dataset.test, bench.out_distribution.test)
    assert bench.recipes
    for recipe in (bench.undefended_recipe, bench.surrogate_recipe, *bench.recipes):
        assert not used_by(recipe) & forbidden, recipe.title
    assert defended.fitted_on is None or not pixels(defended.fitted_on) & forbidden


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
