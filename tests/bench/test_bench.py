"""The bench makes everything once, derives disjoint splits, and says clearly what it cannot do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from pytest_robust.attacks.adversarial_set import AdversarialSet
from pytest_robust.bench import profile
from pytest_robust.bench.bench import Bench
from pytest_robust.bench.defense import Defense
from pytest_robust.bench.settings import Settings, resolve_device
from pytest_robust.defenses.dustbin import Dustbin
from pytest_robust.errors import CacheError, DefenseError, DeviceError, SettingsError, UnknownNameError
from pytest_robust.threats.defended import ThreatModel

MakeBench = Callable[..., Bench]


def test_a_second_bench_trains_attacks_and_decides_nothing(make_bench: MakeBench) -> None:
    def run(bench: Bench) -> list[float]:
        defended = bench.defend("dustbin")
        adversarial = bench.attack(bench.surrogate, "fgsm")
        return [bench.evaluate(defended, adversarial).error.value, bench.evaluate(defended).accuracy.value]

    first = make_bench()
    figures = run(first)
    second = make_bench()
    assert run(second) == figures
    assert (second.ledger.count("trained"), second.ledger.count("crafted")) == (0, 0)
    assert second.ledger.count("loaded") == 3
    assert second.ledger.count("reused") == 1


def test_two_cold_runs_give_the_same_figures(make_bench: MakeBench, tmp_path: Path) -> None:
    def figures(cache: Path) -> list[object]:
        bench = make_bench(cache=cache)
        adversarial = bench.attack(bench.surrogate, "pgd")
        evaluation = bench.evaluate(bench.defend("dustbin"), adversarial)
        return [bench.surrogate.fingerprint, adversarial.as_split().fingerprint, evaluation.decision.score.tolist()]

    assert figures(tmp_path / "a") == figures(tmp_path / "b")


def test_asked_twice_it_is_the_same_object(bench: Bench) -> None:
    assert bench.classifier is bench.train(bench.recipe(name="another name for the same recipe"))
    assert bench.defend("none") is bench.defend("none")
    assert bench.evaluate(bench.defend("none")) is bench.evaluate(bench.defend("none"))


def test_surrogate_is_trained_apart(bench: Bench) -> None:
    assert bench.surrogate.fingerprint != bench.classifier.fingerprint


def test_another_seed_is_another_run(make_bench: MakeBench) -> None:
    one, other = make_bench(), make_bench(seed=1)
    assert one.train_split.fingerprint != other.train_split.fingerprint
    assert one.recipe().seed != other.recipe().seed


def test_training_validation_and_test_share_no_image(make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch) -> None:
    held_out = profile.Profile("cuda_convnet_digits", train_images=500, validation_images=200)
    monkeypatch.setitem(profile.PROFILES, ("digits", "quick"), held_out)
    bench = make_bench()
    assert bench.validation_split is not None
    parts = [bench.train_split, bench.validation_split, bench.test_split]
    images = [{row.numpy().tobytes() for row in part.x} for part in parts]
    assert [len(part) for part in parts] == [500, 200, 539]
    assert not images[0] & images[1]
    assert not images[0] & images[2]
    assert not images[1] & images[2]


def test_correctly_classified_images_are(bench: Bench) -> None:
    kept = bench.correctly_classified(bench.surrogate, bench.test_split)
    assert torch.equal(bench.surrogate.predict(kept.x), kept.y)
    assert 0 < len(kept) <= len(bench.test_split)


def test_transfer_is_the_attackers_own_network(bench: Bench) -> None:
    defended = bench.defend("dustbin")
    assert bench.surface(defended, ThreatModel.TRANSFER) is bench.surrogate
    assert bench.surface(defended, "white_box") is defended.networks["augmented"]
    with pytest.raises(
        SettingsError, match=r"no surface for the threat model 'adaptiv'.*adaptive, gray_box, white_box"
    ):
        bench.surface(defended, "adaptiv")


def test_joined_attacks_count_each_original_once(bench: Bench) -> None:
    split = bench.test_sample(30)
    sets = [
        bench.attack(bench.surrogate, bench.attack_named("fgsm_targeted", target=target), split)
        for target in ("least_likely", "most_likely")
    ]
    evaluation = bench.evaluate(bench.defend("none"), AdversarialSet.cat(sets))
    assert len(evaluation) == 60
    assert evaluation.error.independent == 30
    assert bench.evaluate(bench.defend("dustbin"), AdversarialSet.cat(sets)).error_minus(evaluation).n == 30


def test_sets_of_different_images_are_not_joined(bench: Bench) -> None:
    sets = [bench.attack(bench.surrogate, "fgsm", bench.test_sample(size)) for size in (20, 21)]
    with pytest.raises(SettingsError, match="different images"):
        AdversarialSet.cat(sets)


def test_titles_show_what_is_not_default() -> None:
    assert Dustbin().title == "dustbin"
    assert Dustbin(interpolated=0.0).title == "dustbin(interpolated=0)"


def test_training_data_holds_no_adversaries(bench: Bench) -> None:
    kinds = [part.kind for part in Dustbin().training_data(bench)]
    assert kinds == ["natural", "natural", "interpolated"]
    sizes = [len(part) for part in Dustbin().training_data(bench)]
    assert sizes == [600, 120, 180]  # the paper's 50 : 10 : 15


@pytest.mark.parametrize("ask", ["defend", "attack_named", "load_dataset"])
def test_unknown_names_list_the_known(bench: Bench, ask: str) -> None:
    with pytest.raises(UnknownNameError, match="Known: "):
        getattr(bench, ask)("nobody_registered_this")


def test_a_data_set_without_companion_says_so(make_bench: MakeBench) -> None:
    with pytest.raises(SettingsError, match="names no out-distribution companion"):
        _ = make_bench(dataset="letters").out_distribution


def test_a_defense_that_returns_something_else_is_named(bench: Bench) -> None:
    class Wrong(Dustbin):
        name = "wrong"

        def fit(self, bench: Bench) -> None:  # type: ignore[override]  # noqa: ARG002
            return None

    with pytest.raises(DefenseError, match=r"'wrong': fit must return a Defended, not NoneType"):
        bench.defend(Wrong())


@pytest.mark.parametrize("name", ["cuda:77", "tpu", "gpu"])
def test_devices_that_are_not_there(name: str) -> None:
    with pytest.raises(DeviceError, match=repr(name)):
        resolve_device(name)


def test_a_cache_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    blocking = tmp_path / "file"
    blocking.write_text("not a folder")
    with pytest.raises(CacheError, match="file"):
        Bench(Settings(cache=blocking / "cache", device="cpu"))
    assert blocking.read_text() == "not a folder"


@pytest.mark.parametrize("changes", [{"scale": "huge"}, {"seed": -1}])
def test_settings_are_checked(changes: dict[str, object]) -> None:
    with pytest.raises(SettingsError):
        Settings(**changes)  # type: ignore[arg-type]


def test_every_registered_defense_keeps_the_contract(bench: Bench) -> None:
    from pytest_robust.testing import check_defense

    names = bench.registries.defenses.names()
    assert {"none", "dustbin"} <= set(names)
    for name in names:
        defense: type[Defense] = bench.registries.defenses.get(name)
        assert check_defense(defense, bench).name == name
