"""Checks that every registered defense and attack must pass, ours and other packages', for use in their tests."""

from __future__ import annotations

from dataclasses import fields, is_dataclass

import torch
from torch import Tensor

from pytest_robust.attacks.checks import zero_gradient_share
from pytest_robust.attacks.common_checks import check_attack as check_attack
from pytest_robust.bench.bench import Bench
from pytest_robust.bench.defense import Defense
from pytest_robust.models.classifier import check_logits
from pytest_robust.threats.defended import Defended, ThreatModel

__all__ = ["check_attack", "check_defense"]

#: Images on which a defense is checked: enough for batches of different sizes, few enough for seconds.
IMAGES = 48
#: From this share of images without a gradient on, a surface cannot be attacked (ours); evaluations say it earlier.
MOST_ZERO_GRADIENT = 0.5


def check_defense(defense: type[Defense], bench: Bench) -> Defended:
    """Fit a defense on `bench` and assert that it keeps the contract; returns what it fitted.

    Checked: metadata; parameters stored unchanged; `fit` repeatable; decisions of the right shape, dtype and range
    and independent of the batch they are in; images left untouched; surfaces differentiable, with a gradient that
    is not zero; threat models offered.

    Raises:
        AssertionError, DefenseError, AttackError: with what is wrong.
    """
    chosen = defense()
    _check_metadata(chosen)
    defended = bench.defend(chosen)
    _check_decisions(defended, bench)
    _check_surfaces(defended, bench)
    again = type(chosen)().fit(bench)
    assert again.fingerprint == defended.fingerprint, f"{chosen.title}: fitting twice gives different fingerprints"
    return defended


def _check_metadata(defense: Defense) -> None:
    assert is_dataclass(defense), f"{type(defense).__name__} must be a frozen dataclass: its fields are its parameters"
    assert defense.name, f"{type(defense).__name__} has no name"
    assert defense.limitation, f"{defense.name}: say what is known to break it (limitation)"
    assert defense.title == defense.name, f"{defense.name}: the defaults of {[f.name for f in fields(defense)]} differ"


def _check_decisions(defended: Defended, bench: Bench) -> None:
    split = bench.test_split.subset(range(min(IMAGES, len(bench.test_split))))
    before = split.x.clone()
    whole = defended.decide(split.x)
    assert torch.equal(split.x, before), f"{defended.name}: deciding changed the images"
    for how, settings in (("change when it is asked again", {}), ("depend on the batch", {"batch_size": 7})):
        other = defended.decide(split.x, **settings)
        assert torch.equal(whole.label, other.label), f"{defended.name}: labels {how}"
        assert torch.equal(whole.rejected, other.rejected), f"{defended.name}: rejections {how}"
        tolerance = _rounding(whole.score)
        assert torch.allclose(whole.score, other.score, rtol=0, atol=tolerance), f"{defended.name}: scores {how}"
    chance = 1 / defended.num_classes
    accuracy = float(whole.correct(split.y).float().mean())
    assert accuracy > chance, f"{defended.name}: clean accuracy {accuracy:.2f} is at chance"
    empty = defended.decide(split.x[:0])
    assert len(empty) == 0, f"{defended.name}: no images must give no decisions"


def _check_surfaces(defended: Defended, bench: Bench) -> None:
    for needed in (ThreatModel.WHITE_BOX, ThreatModel.ADAPTIVE):
        assert needed in defended.surfaces, f"{defended.name}: offers no {needed} surface"
    split = bench.test_split.subset(range(min(IMAGES, len(bench.test_split))))
    for threat_model, surface in defended.surfaces.items():
        where = f"{defended.name} ({threat_model})"
        x = split.x.to(surface.device).requires_grad_(True)
        logits = surface(x)
        check_logits(logits.detach(), len(split), surface.num_classes, where)
        gradient = torch.autograd.grad(logits.sum(), x, allow_unused=True)[0] if logits.requires_grad else None
        assert gradient is not None, f"{where}: the surface has no gradient: some operation in it detaches"
        assert bool(torch.isfinite(gradient).all()), f"{where}: gradient is not finite"
        share = zero_gradient_share(surface, split.x, split.y)
        assert share < MOST_ZERO_GRADIENT, (
            f"{where}: the gradient is exactly zero on {share:.0%} of the images: put straight_through around what "
            "rounds"
        )


def _rounding(score: Tensor) -> float:
    """What sums in another order may change: a part of how far the scores are apart, because they are only compared."""
    finite = score[torch.isfinite(score)]
    if not len(finite):
        return 0.0
    return 1e-3 * float(finite.max() - finite.min()) + 1e-6 * float(finite.abs().max())
