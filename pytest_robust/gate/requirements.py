"""What a gate demands of a model: the content of a robust.toml as frozen objects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

Comparison = Literal["at_least", "at_most", "max_drop_from_baseline"]
#: What becomes of a requirement whose verdict is not known; in `OUTCOMES`, the strictest first.
Outcome = Literal["fail", "skip", "pass"]

COMPARISONS: tuple[Comparison, ...] = ("at_least", "at_most", "max_drop_from_baseline")
OUTCOMES: tuple[Outcome, ...] = ("fail", "skip", "pass")
#: Each metric with what it is, for docs and messages.
METRICS: Mapping[str, str] = {
    "accuracy": "the share answered with the true label; under an attack: robust accuracy",
    "error": "the share of all images answered with a wrong label, as they are or under the attack",
    "rejection": "the share that a defense declines to answer",
    "attack_success_rate": "the share of the correctly classified images that the attack gets a wrong answer for",
    "auroc": "of a defense's suspicion score, as a detector of attacked images among clean ones",
}
#: Metrics that mean nothing on images that nobody attacked.
NEED_ATTACK = frozenset({"attack_success_rate", "auroc"})
#: Metrics that a drop from a baseline can be demanded of: the higher the better, and counted image by image.
CAN_DROP = frozenset({"accuracy", "rejection"})
SYMBOLS: Mapping[Comparison, str] = {"at_least": ">=", "at_most": "<=", "max_drop_from_baseline": "drop <="}


@dataclass(frozen=True)
class Requirement:
    """One ``[[require]]``: a metric, under an attack or not, and what it is compared with.

    Args:
        metric: one of `METRICS`.
        comparison: one of `COMPARISONS`.
        threshold: a share in [0, 1].
        attack: registered name; None measures clean images.
        norm: as the attack has it where None.
        eps: likewise.
        parameters: of the attack, by the names that the attack gives them.
        sequential: whether images are attacked in batches until the verdict is certain.
        name: what the user calls it; "" is named after what it demands.
        eps_text: ε as the user wrote it ("8/255").
        line: of its header in the file.
    """

    metric: str
    comparison: Comparison
    threshold: float
    attack: str | None = None
    norm: str | None = None
    eps: float | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    sequential: bool = False
    name: str = ""
    eps_text: str = ""
    line: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "parameters", MappingProxyType(dict(self.parameters)))

    @property
    def measures(self) -> str:
        """What is measured, without what is demanded: ``pgd linf eps=8/255 accuracy``; ``clean accuracy``."""
        if self.attack is None:
            return f"clean {self.metric}"
        budget = [] if self.eps is None else [f"eps={self.eps_text or format(self.eps, 'g')}"]
        others = [f"{key}={value}" for key, value in self.parameters.items()]
        return " ".join([self.attack, *([self.norm] if self.norm else []), *budget, *others, self.metric])

    @property
    def demand(self) -> str:
        """What is demanded: ``>= 0.45``; ``drop <= 0.01``."""
        return f"{SYMBOLS[self.comparison]} {self.threshold:g}"

    @property
    def title(self) -> str:
        """The user's name for it, or else what it measures and demands."""
        return self.name or f"{self.measures} {self.demand}"

    @property
    def higher_is_better(self) -> bool:
        """Which way is worse, in a comparison with a baseline: what must be large is worse when it is smaller."""
        return self.comparison != "at_most"


@dataclass(frozen=True)
class Diagnose:
    """The ``[diagnose]`` table: that the evaluation itself is checked, and under which attack.

    Args:
        attack: registered name.
        norm: as the attack has it where None.
        eps: likewise.
        parameters: of the attack, by the names that the attack gives them.
        images: how many are looked at; None is as many as `robust.diagnose` takes.
        training: labelled images for an attacker's own model, ``"module:factory"`` or a folder; None has none trained.
        line: of its header in the file.
    """

    attack: str
    norm: str | None = None
    eps: float | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    images: int | None = None
    training: str | None = None
    line: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "parameters", MappingProxyType(dict(self.parameters)))


@dataclass(frozen=True)
class Gate:
    """A robust.toml.

    Args:
        model: ``"module:factory"``, or a file.
        data: ``"module:factory"``, or a folder.
        requirements: at least one.
        mean: subtracted from the images before the model sees them; None where the model does it.
        std: they are divided by it after that; likewise.
        confidence: of every verdict.
        inconclusive: what becomes of a requirement that the images cannot decide; None fails a threshold, and lets a
            drop pass that is not significant.
        unreliable: what becomes of one that passes while a check on the evaluation itself is raised.
        diagnose: None does not check.
        path: of the file, for messages.
        lines: of the keys of ``[gate]`` in it, likewise; empty for a gate that stands in no file.
    """

    model: str
    data: str
    requirements: tuple[Requirement, ...]
    mean: float | tuple[float, ...] | None = None
    std: float | tuple[float, ...] | None = None
    confidence: float = 0.95  # as everywhere; `evaluation.rate` has it, and imports torch
    inconclusive: Outcome | None = None
    unreliable: Outcome = "fail"
    diagnose: Diagnose | None = None
    path: str = ""
    lines: Mapping[str, int] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "lines", MappingProxyType(dict(self.lines)))
