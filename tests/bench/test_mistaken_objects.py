"""What is handed over by mistake gets one sentence of this project's, not a library's traceback."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
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
