"""A RobustnessRanking: which networks of a family are robust, and whether the accurate ones are (Rozsa et al. 2016)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar, Self

from tabulate import tabulate
from torch import Tensor

from pytest_robust.data.pixels import WHITE
from pytest_robust.errors import SettingsError
from pytest_robust.evaluation.estimate import Estimate, estimated_mean, from_plain, median_of, to_plain
from pytest_robust.evaluation.mean import mean_of
from pytest_robust.evaluation.rank_correlation import RankCorrelation
from pytest_robust.evaluation.rate import Rate
from pytest_robust.studies.correlations import correlations
from pytest_robust.studies.crossed import Crafted, Crossed
from pytest_robust.studies.metrics import FLOOR, METRICS
from pytest_robust.studies.study import FamilyStudy


@dataclass(frozen=True)
class Entry:
    """One network under one attack.

    Sizes are in pixel levels, 0 to 255, over the images on which the attack succeeded.

    Args:
        network: its name.
        attack: its name.
        figures: by name of `METRICS`. Rates have exact intervals, means Student's t, medians order statistics.
        failures: images by cause of failure.
        unaligned: images whose PASS is SSIM, because no alignment was found.
    """

    network: str
    attack: str
    figures: Mapping[str, Rate | Estimate]
    failures: Mapping[str, int]
    unaligned: int


@dataclass(frozen=True)
class RobustnessRanking(FamilyStudy):
    """Robustness of the networks of a family, and its rank correlation with their accuracy.

    Args:
        family: its name.
        data: the images' name.
        accuracy: clean accuracy by network, on all images.
        images: how many images were attacked: those that every network classifies correctly, or a sample of them.
        entries: one of each attack and network, the attacks in order.
        correlations: by attack, then by name of `METRICS`: Spearman's ρ with clean accuracy over the networks.
        common: the same, each network's figures from those images alone on which the attack succeeded on all networks:
            where success rates differ, a network's own successes are another, easier or harder, set of images.
        checks: by attack, the signs that it did not work, that a network guesses, or that sizes are not the smallest,
            a sentence each.
    """

    STUDY: ClassVar = "robustness ranking"
    SCHEMA: ClassVar = 1

    family: str
    data: str
    accuracy: Mapping[str, Rate]
    images: int
    entries: tuple[Entry, ...]
    correlations: Mapping[str, Mapping[str, RankCorrelation]]
    common: Mapping[str, Mapping[str, RankCorrelation]]
    checks: Mapping[str, tuple[str, ...]]

    @classmethod
    def from_crossed(cls, crossed: Crossed) -> Self:
        """From the numbers per image that a study has already made."""
        networks, attacks = crossed.networks, crossed.attacks
        accuracy = {network: Rate.of(crossed.correct[:, i]) for i, network in enumerate(networks)}
        return cls(
            crossed.family,
            crossed.data,
            accuracy,
            len(crossed.attacked),
            tuple(_entry(n, a, crossed.crafted[a][n], crossed.pixels) for a in attacks for n in networks),
            *correlations(crossed),
            {a: crossed.size_checks(a) for a in attacks},
        )

    @property
    def networks(self) -> tuple[str, ...]:
        """Names, from the least to the most accurate one."""
        return tuple(sorted(self.accuracy, key=lambda network: self.accuracy[network].value))

    @property
    def attacks(self) -> tuple[str, ...]:
        """Names in order."""
        return tuple(dict.fromkeys(entry.attack for entry in self.entries))

    def entry(self, attack: str, network: str) -> Entry:
        """Of one attack and network.

        Raises:
            SettingsError: there is none.
        """
        for entry in self.entries:
            if (entry.attack, entry.network) == (attack, network):
                return entry
        raise SettingsError(
            f"the ranking has no {attack!r} on {network!r}; it has the attacks {', '.join(self.attacks)} on "
            f"{', '.join(self.networks)}."
        )

    @property
    def all_images(self) -> int:
        """How many images clean accuracy is over; `images` are those among them that were attacked."""
        return max((rate.n for rate in self.accuracy.values()), default=0)

    def summary(self) -> str:
        """The main figures, narrow enough for a terminal: a block of each attack, and the main ρ under it."""
        return "\n\n".join(self._block(attack) for attack in self.attacks)

    def _block(self, attack: str) -> str:
        rows = []
        for network in self.networks:
            figures = self.entry(attack, network).figures
            rates = [_share(rate) for rate in (self.accuracy[network], figures["success"])]
            rows.append([network, *rates, *(_short(name, figures[name], digits=3) for name in ("l2", "pass_score"))])
        headers = [f"network, {attack}", "accuracy", "success", METRICS["l2"], METRICS["pass_score"]]
        rhos = [
            [f"accuracy and {METRICS[m]}:", str(self.correlations[attack][m])] for m in ("l2", "linf", "pass_score")
        ]
        lower = tabulate(rhos, tablefmt="plain", disable_numparse=True)
        return f"{tabulate(rows, headers, disable_numparse=True)}\n\n{lower}"

    def table(self, style: str = "simple") -> str:
        """A row of each attack and network, the networks from the least to the most accurate one; and every ρ.

        Args:
            style: any of tabulate's table formats; "github" for the docs.
        """
        headers = ["attack", "network", "clean accuracy", *METRICS.values(), "failures", "PASS not aligned"]
        rows = [self._row(self.entry(attack, n)) for attack in self.attacks for n in self.networks]
        rhos = [
            [attack, METRICS[metric], str(rho), _p(rho.p_greater), _p(rho.p_less)]
            for attack in self.attacks
            for metric, rho in self.correlations[attack].items()
        ]
        titles = ["attack", "clean accuracy and …", "Spearman's ρ", "p (ρ > 0)", "p (ρ < 0)"]
        tables = [tabulate(r, h, tablefmt=style, disable_numparse=True) for r, h in ((rows, headers), (rhos, titles))]
        return "\n\n".join(tables)

    def _row(self, entry: Entry) -> list[str]:
        figures = [_short(name, entry.figures[name]) for name in METRICS]
        failures = ", ".join(f"{n} {cause}" for cause, n in entry.failures.items() if n) or "none"
        return [
            entry.attack,
            entry.network,
            _percent(self.accuracy[entry.network]),
            *figures,
            failures,
            str(entry.unaligned),
        ]

    def as_dict(self) -> dict[str, Any]:
        """Plain data with every figure and its interval; JSON holds it."""
        return {
            "study": self.STUDY,
            "schema": self.SCHEMA,
            "family": self.family,
            "data": self.data,
            "images": self.images,
            "accuracy": {network: to_plain(rate) for network, rate in self.accuracy.items()},
            "entries": [
                {**asdict(entry), "figures": {name: to_plain(figure) for name, figure in entry.figures.items()}}
                for entry in self.entries
            ],
            "correlations": _plain_correlations(self.correlations),
            "common": _plain_correlations(self.common),
            "checks": {attack: list(signs) for attack, signs in self.checks.items()},
        }

    @classmethod
    def _read(cls, plain: Mapping[str, Any]) -> Self:
        accuracy = {network: _rate(rate) for network, rate in plain["accuracy"].items()}
        entries = tuple(_read_entry(entry) for entry in plain["entries"])
        known, common = (_read_correlations(plain[name]) for name in ("correlations", "common"))
        checks = {attack: tuple(signs) for attack, signs in plain["checks"].items()}
        return cls(plain["family"], plain["data"], accuracy, plain["images"], entries, known, common, checks)


def _entry(network: str, attack: str, made: Crafted, pixels: int) -> Entry:
    fooled = made.success
    l2, linf = made.l2[fooled], made.linf[fooled]
    figures: dict[str, Rate | Estimate] = {
        "success": Rate.of(fooled),
        "l2": _mean(l2, 0.0, math.inf),
        "l2_median": median_of(l2),
        "linf": _mean(linf, 0.0, WHITE),
        "linf_median": median_of(linf),
        "rms": _mean(l2 / math.sqrt(pixels), 0.0, WHITE),
        "floor": Rate.of(linf <= FLOOR),
        "pass_score": _mean(made.pass_score[fooled], -1.0, 1.0),
    }
    return Entry(network, attack, figures, made.failures, int((fooled & ~made.aligned).sum()))


def _mean(values: Tensor, least: float, most: float) -> Estimate:
    """With its t interval, of which nothing lies outside the figure's range; infinite ends, of too few images, stay."""
    found = estimated_mean(mean_of(values))
    if not math.isfinite(found.lower):
        return found
    return replace(found, lower=max(least, found.lower), upper=min(most, found.upper))


def _short(name: str, figure: Rate | Estimate, digits: int = 4) -> str:
    """A figure with its interval in as few characters as tell it; `digits` are those of PASS."""
    if isinstance(figure, Rate):
        return _percent(figure)
    if math.isnan(figure.value):
        return "–"
    value, lower, upper = (
        _size(end, digits if name == "pass_score" else None) for end in (figure.value, figure.lower, figure.upper)
    )
    if not (math.isfinite(figure.lower) and math.isfinite(figure.upper)):
        return f"{value} (too few)"
    return f"{value} ({lower}–{upper})"


def _size(value: float, decimals: int | None) -> str:
    """With so many decimals; where none are asked for, with three figures, or all before the point."""
    if decimals is not None:
        return f"{value:.{decimals}f}"
    return f"{value:.0f}" if abs(value) >= 999.5 else f"{value:.3g}"


def _share(figure: Rate | Estimate) -> str:
    return "–" if math.isnan(figure.value) else f"{100 * figure.value:.1f} %"


def _p(value: float) -> str:
    return "–" if value != value else f"{value:.4f}"


def _percent(rate: Rate) -> str:
    return "–" if not rate.n else f"{100 * rate.value:.1f} % ({100 * rate.lower:.1f}–{100 * rate.upper:.1f})"


def _rate(plain: Mapping[str, Any]) -> Rate:
    found = from_plain(plain)
    if not isinstance(found, Rate):
        raise TypeError("a rate is expected")
    return found


def _read_entry(plain: Mapping[str, Any]) -> Entry:
    figures = {name: from_plain(figure) for name, figure in plain["figures"].items()}
    return Entry(plain["network"], plain["attack"], figures, dict(plain["failures"]), plain["unaligned"])


def _plain_correlations(by_attack: Mapping[str, Mapping[str, RankCorrelation]]) -> dict[str, Any]:
    return {
        attack: {metric: {k: None if v != v else v for k, v in asdict(rho).items()} for metric, rho in found.items()}
        for attack, found in by_attack.items()
    }


def _read_correlations(plain: Mapping[str, Any]) -> dict[str, dict[str, RankCorrelation]]:
    return {
        attack: {
            metric: RankCorrelation(**{k: math.nan if v is None else v for k, v in rho.items()})  # type: ignore[arg-type]
            for metric, rho in found.items()
        }
        for attack, found in plain.items()
    }
