"""A bench with another profile: its own network and sizes, the same run otherwise."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pytest_robust.bench.bench import Bench
from pytest_robust.errors import SettingsError


def test_it_has_its_own_network_and_sizes_and_leaves_the_run_as_it_was(make_bench: Callable[..., Bench]) -> None:
    run = make_bench()
    before = run.profile
    paper = run.with_profile(architecture="mlp", epochs=1, test_images=30, train_images=100)
    assert paper.recipe().settings != run.recipe().settings
    assert (len(paper.train_split), len(paper.test_split)) == (100, 30)
    assert paper.classifier.fingerprint != run.classifier.fingerprint
    assert run.profile == before
    assert paper.dataset is run.dataset


def test_what_it_spends_is_the_runs(make_bench: Callable[..., Bench]) -> None:
    run = make_bench()
    paper = run.with_profile(epochs=1)
    trained = paper.train(run.recipe(architecture="mlp", epochs=1))
    assert run.ledger.count("trained") + run.ledger.count("loaded") == 1
    assert run.train(run.recipe(architecture="mlp", epochs=1)) is trained
    assert paper.evaluate(paper.defend("none")).accuracy.n == run.evaluate(run.defend("none")).accuracy.n


@pytest.mark.parametrize(("name", "said"), [("epoch", "did you mean 'epochs'"), ("zzz", "it has: architecture, ")])
def test_a_field_that_no_profile_has_is_told_with_the_nearest(
    make_bench: Callable[..., Bench], name: str, said: str
) -> None:
    with pytest.raises(SettingsError, match=rf"with_profile\({name}=\.\.\.\): a profile has no field '{name}'; {said}"):
        make_bench().with_profile(**{name: 3})
