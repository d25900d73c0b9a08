"""The undefended network: what every defense is compared with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pytest_robust.bench.bench import Bench
from pytest_robust.bench.defense import Defense
from pytest_robust.threats.defended import Defended, network_alone


@dataclass(frozen=True)
class Undefended(Defense):
    """No defense: the network as it was trained. It never rejects.

    Its score is one minus the largest softmax probability (Hendrycks & Gimpel 2017, the usual baseline detector).
    """

    name: ClassVar[str] = "none"
    paper: ClassVar[str] = "Hendrycks & Gimpel, ICLR 2017 (the score)"
    limitation: ClassVar[str] = "any gradient attack breaks it (Szegedy et al. 2014)"

    def fit(self, bench: Bench) -> Defended:
        """The bench's undefended classifier."""
        return network_alone(bench.classifier, self.title)


defense = Undefended
