"""A Defense: a registered plug-in with parameters, that fits itself on a bench and gives a Defended model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import fields
from typing import TYPE_CHECKING, Any, ClassVar

from pytest_robust.threats.defended import Defended

if TYPE_CHECKING:
    from pytest_robust.bench.bench import Bench


class Defense(ABC):
    """Base of every defense: a frozen dataclass whose fields are its parameters.

    ``__init__`` stores parameters unchanged; everything learned goes into the `Defended` that `fit` returns, so
    that one defense can be fitted on several benches.

    Attributes:
        name: the name under which it is registered.
        paper: where it was proposed.
        limitation: what is known to break it, with the paper that did; every defense has one.
    """

    name: ClassVar[str]
    paper: ClassVar[str] = ""
    limitation: ClassVar[str] = ""

    @abstractmethod
    def fit(self, bench: Bench) -> Defended:
        """Train what the defense needs on `bench`'s data set; training goes through ``bench.train``."""

    @property
    def parameters(self) -> dict[str, Any]:
        """Every parameter and its value."""
        return {f.name: getattr(self, f.name) for f in fields(self)}  # type: ignore[arg-type]

    @property
    def title(self) -> str:
        """The name, with those parameters that are not their defaults: ``dustbin(interpolated=0)``."""
        changed = [
            f"{f.name}={_shown(getattr(self, f.name))}"
            for f in fields(self)  # type: ignore[arg-type]
            if getattr(self, f.name) != f.default
        ]
        return f"{self.name}({', '.join(changed)})" if changed else self.name


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else repr(value)
