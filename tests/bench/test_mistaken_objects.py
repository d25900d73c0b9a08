"""What is handed over by mistake gets one sentence of this project's, not a library's traceback."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import nn

from pytest_robust.attacks.adversarial_set import AdversarialSet
from pytest_robust.bench.bench import Bench
from pytest_robust.bench.defense import Defense
from pytest_robust.bench.settings import Settings
from pytest_robust.catalogue import Registries
from pytest_robust.claims.paper import Paper
from pytest_robust.data.split import Split
from pytest_robust.errors import ClaimError, DefenseError, RobustError, SettingsError
from pytest_robust.models.classifier import Classifier
from pytest_robust.threats.defended import Defended, network_alone


class Undecorated(Defense):
    name = "undecorated"

    def fit(self, bench: Bench) -> Defended:  # noqa: ARG002
        return network_alone(linear(), self.name)


@dataclass(frozen=True)
class Nameless(Defense):
    def fit(self, bench: Bench) -> Defended:  # noqa: ARG002
        return network_alone(linear(), "nameless")


@dataclass(frozen=True)
class Sound(Defense):
    name: ClassVar[str] = "sound"
    strength: int = 1

    def fit(self, bench: Bench) -> Defended:  # noqa: ARG002
        return network_alone(linear(), self.title)


@dataclass
class Melting(Defense):
    name: ClassVar[str] = "melting"

    def fit(self, bench: Bench) -> Defended:  # noqa: ARG002
        return handmade()


class Ignored(Sound):
    name: ClassVar[str] = "ignored"
    strength: int = 2


class Unannotated(Sound):
    name = "unannotated"
    strength = 2


class Plain(Sound):
    name = "plain"


def handmade(**fields: Any) -> Defended:
    return replace(network_alone(linear(), "handmade"), **fields)


@dataclass(frozen=True)
class Fitted(Defense):
    name: ClassVar[str] = "fitted"
    fields: tuple[tuple[str, Any], ...] = ()

    def fit(self, bench: Bench) -> Defended:  # noqa: ARG002
        return handmade(**dict(self.fields))


def linear() -> Classifier:
    return Classifier(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), num_classes=10, input_shape=(1, 8, 8))


def images(*shape: int) -> Split:
    return Split(torch.rand(4, *shape), torch.arange(4), 10, "some")


def attacked(**params: Any) -> Callable[[Bench], Any]:
    return lambda b: b.attack(linear(), b.attack_named("pgd", **params), images(1, 8, 8))


@pytest.mark.parametrize(
    ("mistake", "error", "sentence"),
    [
        (lambda b: b.defend(Undecorated()), DefenseError, "'undecorated' is no dataclass: write @dataclass"),
        (lambda b: b.defend(Nameless()), DefenseError, "Nameless has no name: write name"),
        (lambda b: b.defend(Sound), DefenseError, "object of a class derived from pytest_robust.Defense"),
        (lambda b: b.defend(Melting()), DefenseError, "'melting' can be changed .* above class Melting"),
        (lambda b: b.defend(Ignored()), DefenseError, "Ignored sets strength, which no dataclass reads"),
        (lambda b: b.defend(Unannotated()), DefenseError, "Unannotated sets strength, which no dataclass reads"),
        (lambda b: b.defend("none", tau=1), SettingsError, "'none' has no parameter 'tau'; it has: none"),
        (lambda b: b.defend("dustbin", tau=1), SettingsError, "no parameter 'tau'; it has: .*interpolated"),
        (lambda b: b.defend(Sound(), strength=2), SettingsError, r"give them to Sound\(\.\.\.\)"),
        (
            lambda b: b.defend(Fitted((("num_classes", 11),))),
            DefenseError,
            "Defended.num_classes must be 10, .* not 11",
        ),
        (lambda b: b.defend(Fitted((("device", "cpu"),))), DefenseError, r"Defended.device .*torch.device\('cpu'\)"),
        (lambda b: b.evaluate(handmade(fingerprint="")), DefenseError, "'handmade': Defended.fingerprint must be"),
        (
            lambda b: b.evaluate(handmade(surfaces={"white_box": nn.Identity()})),
            DefenseError,
            r"'handmade': Defended.surfaces\['white_box'\] must be a Classifier .* not Identity",
        ),
        (lambda b: b.evaluate(linear(), images(1, 28, 28)), DefenseError, r"images of shape \(1, 28, 28\)"),
        (lambda b: b.evaluate(linear(), images(3, 8, 8)), DefenseError, r"images of shape \(3, 8, 8\)"),
        (attacked(batch_size=2.5), SettingsError, "batch_size=2.5; it is a whole number from 1"),
        (attacked(batch_size=0), SettingsError, "batch_size=0; it is a whole number from 1"),
        (attacked(num_random_init=1.5), SettingsError, "num_random_init=1.5; it is a whole number from 0"),
        (attacked(max_iter=[1]), SettingsError, r"max_iter=\[1\]; write a number"),
        (attacked(eps_step=[1]), SettingsError, r"eps_step=\[1\]; write a number"),
    ],
    ids=[
        "no dataclass",
        "no name",
        "a class",
        "not frozen",
        "parameters without a decorator",
        "values without a decorator",
        "unknown parameter of none",
        "unknown parameter",
        "parameters of an object",
        "too many classes",
        "device as text",
        "no fingerprint",
        "a bare surface",
        "another size",
        "other channels",
        "half an image",
        "no image",
        "half a start",
        "steps in a list",
        "step in a list",
    ],
)
def test_the_bench_says_what_is_wrong(
    mistake: Callable[[Bench], Any], error: type[RobustError], sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=sentence):
        mistake(Bench(Settings(cache=tmp_path)))


def test_an_object_can_be_registered_as_well_as_a_class(tmp_path: Path) -> None:
    registries = Registries()
    registries.defenses.register("strong", Sound(strength=3))
    assert Bench(Settings(cache=tmp_path), registries).defend("strong").name == "sound(strength=3)"


def test_parameters_go_with_a_registered_name(tmp_path: Path) -> None:
    registries = Registries()
    registries.defenses.register("sound", Sound)
    registries.defenses.register("strong", Sound(strength=3))
    bench = Bench(Settings(cache=tmp_path), registries)
    assert bench.defend("sound", strength=2).name == "sound(strength=2)"
    assert bench.defend("strong", strength=4).name == "sound(strength=4)"


def test_a_subclass_that_adds_nothing_needs_no_decorator(tmp_path: Path) -> None:
    assert Bench(Settings(cache=tmp_path)).defend(Plain(strength=2)).name == "plain(strength=2)"


def test_parameters_that_print_alike_are_two_defenses(tmp_path: Path) -> None:
    bench = Bench(Settings(cache=tmp_path))
    middle = torch.zeros(2000)
    middle[1000] = 1
    for one, other in ((0.3, 0.3000001), (torch.zeros(2000), middle), (Sound(1), Plain(1)), (linear(), linear())):
        assert bench.defend(Fitted((("networks", {"a": one}),))) is not bench.defend(
            Fitted((("networks", {"a": other}),))
        )
    again = Fitted((("networks", {"a": 0.3}),))
    assert bench.defend(again) is bench.defend(again)


@pytest.mark.parametrize("seed", [-1, 2**31, 2**80])
def test_seeds_that_no_generator_takes_are_refused(seed: int) -> None:
    with pytest.raises(SettingsError, match=r"seeds count from 0 to 2\*\*31 - 1"):
        Settings(seed=seed)


def test_the_largest_seed_works(tmp_path: Path) -> None:
    assert len(Bench(Settings(seed=2**31 - 1, cache=tmp_path)).train_split)


def test_a_device_has_a_name() -> None:
    with pytest.raises(SettingsError, match="name it: auto, cpu"):
        Settings(device=None)  # type: ignore[arg-type]


def test_nothing_cannot_be_joined() -> None:
    with pytest.raises(SettingsError, match="no adversarial set to join"):
        AdversarialSet.cat([])


@pytest.mark.parametrize(
    ("content", "lacks"),
    [
        ("x = 1", r"\[paper\] with 'key'"),
        ("[paper]\ntitle = 'T'", r"\[paper\] with 'key'"),
        ("[paper]\nkey = 'k'", "setup"),
    ],
    ids=["no paper", "no key", "no set-up"],
)
def test_a_papers_file_has_its_tables(content: str, lacks: str, tmp_path: Path) -> None:
    path = tmp_path / "claims.toml"
    path.write_text(content)
    with pytest.raises(ClaimError, match=rf"claims.toml lacks .*{lacks}"):
        Paper.read(path)
