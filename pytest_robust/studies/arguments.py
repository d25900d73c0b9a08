"""What a user hands to a study: understood, or refused with the sentence that says what to hand it instead."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from numbers import Integral
from typing import Any

from pytest_robust.attacks.attack import Attack
from pytest_robust.bench.arguments import check_attack_object
from pytest_robust.bench.bench import Bench
from pytest_robust.errors import SettingsError


def titled(attacks: str | Attack | Sequence[str | Attack], bench: Bench) -> dict[str, Attack]:
    """The attacks by name; by title where two share a name.

    Args:
        attacks: one or several, each a registered name or an attack.
        bench: knows the names.

    Raises:
        SettingsError: none at all, the same one twice, or something that is no attack.
    """
    given: list[Any] = list(attacks) if isinstance(attacks, Iterable) and not isinstance(attacks, str) else [attacks]
    chosen = [bench.attack_named(attack) if isinstance(attack, str) else attack for attack in given]
    if not chosen:
        raise SettingsError("a study needs at least one attack: fgs, fgv, hot_cold.")
    for attack in chosen:
        check_attack_object(attack)
    names, titles = [attack.name for attack in chosen], [attack.title for attack in chosen]
    twice = next((title for title in titles if titles.count(title) > 1), None)
    if twice is not None:
        raise SettingsError(f"the attack {twice!r} is there twice: give each attack of a study once.")
    return {a.name if names.count(a.name) == 1 else a.title: a for a in chosen}


def check_limit(limit: object) -> None:
    """Raise SettingsError unless `limit` is a number of images, or None for all."""
    if limit is None or (isinstance(limit, Integral) and int(limit) >= 1):
        return
    raise SettingsError(f"at most {limit!r} images cannot be attacked: give a limit of 1 or more, or None for all.")


def check_images(images: object) -> None:
    """Raise SettingsError unless `images` can be had in parts, as a `Split` and an `ImageFolder` can."""
    if all(hasattr(images, name) for name in ("y", "num_classes", "input_shape", "fingerprint", "subset", "chunks")):
        return
    raise SettingsError(
        f"a study takes a pytest_robust.Split or an ImageFolder, not a {type(images).__name__}: images x and labels y "
        "make one by Split(x, y, num_classes), and of a data set of this package its .test is one."
    )
