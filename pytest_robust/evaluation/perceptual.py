"""How different an adversarial image looks: PASS, SSIM and the norms of its perturbation, one value per image."""

from __future__ import annotations

from torch import Tensor

from pytest_robust.attacks.adversarial_set import AdversarialSet
from pytest_robust.errors import SettingsError
from pytest_robust.evaluation.alignment import align
from pytest_robust.evaluation.perturbation_stats import sizes_of
from pytest_robust.evaluation.ssim import ssim


def pass_score(x: Tensor, x_adv: Tensor) -> Tensor:
    """Perceptual adversarial similarity score of each pair, 1 for equal images; float64 of shape (N,).

    PASS = SSIM(ψ(x_adv), x) with ψ the homography that brings x_adv onto x (`align`; the identity where none is found):
    a small shift, turn or change of view, which people do not mind, costs little. Source: Rozsa, Rudd & Boult 2016,
    Adversarial Diversity and Hard Positive Generation, https://arxiv.org/abs/1605.01775.

    Args:
        x: original images, float32 of shape (N, C, H, W) with C of 1 or 3, in [0, 1].
        x_adv: adversarial images of the same shape.

    Raises:
        DataError: other shapes; values outside [0, 1], whole numbers, or no tensors.
        SettingsError: images of neither one nor three channels, or OpenCV is not installed.
    """
    return ssim(x, align(x, x_adv)[0])


def perceptual_metrics(adversarial: AdversarialSet) -> dict[str, Tensor]:
    """Every metric of every image of a set, successful or not, on the CPU.

    Keys: "pass" and "ssim" (higher is more alike); "l0" (changed values), "l1", "l2", "linf" and "mse" of the
    perturbation of images in [0, 1]; all float64 of shape (N,). "aligned", bool of shape (N,), says where the alignment
    of PASS was found; elsewhere PASS equals SSIM.

    Raises:
        DataError: images outside [0, 1].
        SettingsError: no adversarial set; images of neither one nor three channels, or OpenCV is not installed.
    """
    if not isinstance(adversarial, AdversarialSet):
        raise SettingsError(
            f"perceptual_metrics takes an AdversarialSet (Bench.attack makes one), not a {type(adversarial).__name__}: "
            "two tensors of images go to pass_score and ssim."
        )
    clean, x = adversarial.clean.x.cpu(), adversarial.x.cpu()
    brought, aligned = align(clean, x)
    return {"pass": ssim(clean, brought), "ssim": ssim(clean, x), **sizes_of(adversarial), "aligned": aligned}
