"""The undefended network: what every defense is compared with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from pytest_robust.bench.bench import Bench
from pytest_robust.bench.defense import Defense
from pytest_robust.store.fingerprint import fingerprint, source_fingerprint
from pytest_robust.threats.decision import Decision
from pytest_robust.threats.defended import Defended, ThreatModel


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
        network = bench.classifier

        def decide(x: Tensor) -> Decision:
            logits = network.logits_of(x, len(x))
            score = 1 - logits.softmax(1).amax(1)
            return Decision(logits.argmax(1), torch.zeros(len(x), dtype=torch.bool, device=x.device), score)

        return Defended(
            name=self.title,
            num_classes=network.num_classes,
            decide_batch=decide,
            surfaces=dict.fromkeys((ThreatModel.GRAY_BOX, ThreatModel.WHITE_BOX, ThreatModel.ADAPTIVE), network),
            device=bench.device,
            fingerprint=fingerprint([self.title, source_fingerprint(type(self)), network.fingerprint]),
            networks={"network": network},
        )


defense = Undefended
