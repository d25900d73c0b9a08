"""A defense in one file: refuse to answer where the network is not sure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from pytest_robust.bench.bench import Bench
from pytest_robust.bench.defense import Defense
from pytest_robust.models.classifier import Classifier
from pytest_robust.store.fingerprint import fingerprint, source_fingerprint
from pytest_robust.threats.decision import Decision
from pytest_robust.threats.defended import Defended, ThreatModel
from pytest_robust.threats.surfaces import DetectorAware, surface_of


class Doubt(nn.Module):
    """How much less likely the answer is than the least likely one that is accepted, as a difference of logarithms."""

    def __init__(self, classifier: Classifier, accepted: float) -> None:
        super().__init__()
        self.classifier, self.accepted = classifier, accepted

    def forward(self, x: Tensor) -> Tensor:
        return self.accepted - self.classifier(x).log_softmax(1).amax(1)


@dataclass(frozen=True)
class Confidence(Defense):
    """Reject images whose answer is less likely than on almost all clean images.

    Args:
        false_alarms: share of held-out training images that may be rejected.
    """

    name: ClassVar[str] = "confidence"
    paper: ClassVar[str] = "Hendrycks & Gimpel, ICLR 2017"
    limitation: ClassVar[str] = "adversarial images can be answered with any confidence (Nguyen et al. 2015)"

    false_alarms: float = 0.05

    def fit(self, bench: Bench) -> Defended:
        network = bench.classifier  # trained now, or from the cache
        held_out = bench.validation_split or bench.train_split  # never test images
        sure = network.logits_of(held_out.x).log_softmax(1).amax(1)
        doubt = Doubt(network, float(sure.quantile(self.false_alarms)))

        def decide(x: Tensor) -> Decision:
            score = doubt(x)
            return Decision(label=network(x).argmax(1), rejected=score > 0, score=score)

        aware = surface_of(
            DetectorAware(network, doubt), network, "confidence, adaptive", outputs=network.num_classes + 1
        )
        return Defended(
            name=self.title,
            num_classes=bench.dataset.num_classes,
            decide_batch=decide,
            surfaces={
                ThreatModel.GRAY_BOX: network,
                ThreatModel.WHITE_BOX: network,
                ThreatModel.ADAPTIVE: aware,  # one output more: an attack that ends there has failed
            },
            device=bench.device,
            fingerprint=fingerprint([self.parameters, source_fingerprint(type(self)), network.fingerprint]),
            fitted_on=held_out,
        )


defense = Confidence
