"""What this package registers, as names and import paths, and the five registries made from them.

A table of strings, so that listing what exists imports neither torch nor ART. A built-in gets nothing here that
another package cannot have through an entry point, or a user through the hook ``pytest_robust_register``.
"""

from __future__ import annotations

import pkgutil
from dataclasses import dataclass, field
from typing import Any

from pytest_robust.registry import Registry

DATASETS = {
    "digits": "pytest_robust.data.digits:digits",
    "letters": "pytest_robust.data.letters:letters",
    "mnist": "pytest_robust.data.mnist:mnist",
    "fashion_mnist": "pytest_robust.data.mnist:fashion_mnist",
    "notmnist": "pytest_robust.data.notmnist:notmnist",
    "cifar10": "pytest_robust.data.cifar:cifar10",
    "cifar100": "pytest_robust.data.cifar:cifar100",
    "imagenet": "pytest_robust.data.imagenet:imagenet",
}

ARCHITECTURES = {
    "cuda_convnet": "pytest_robust.models.convnets:cuda_convnet",
    "cuda_convnet_digits": "pytest_robust.models.convnets:cuda_convnet_digits",
    "vgg16": "pytest_robust.models.convnets:vgg16",
    "small_cnn": "pytest_robust.models.convnets:small_cnn",
    "mlp": "pytest_robust.models.convnets:mlp",
    "ensemble_cifar": "pytest_robust.models.ensemble_networks:ensemble_cifar",
    "ensemble_digits": "pytest_robust.models.ensemble_networks:ensemble_digits",
    "exploring_mnist": "pytest_robust.models.exploring_networks:exploring_mnist",
    "exploring_digits": "pytest_robust.models.exploring_networks:exploring_digits",
    "exploring_cifar": "pytest_robust.models.exploring_networks:exploring_cifar",
    "exploring_autoencoder": "pytest_robust.models.exploring_networks:exploring_autoencoder",
    "gac_mlp": "pytest_robust.models.exploring_networks:gac_mlp",
    "gac_conv": "pytest_robust.models.exploring_networks:gac_conv",
    "gac_mlp_classifier": "pytest_robust.models.exploring_networks:gac_mlp_classifier",
    "gac_conv_classifier": "pytest_robust.models.exploring_networks:gac_conv_classifier",
    "ladder_linear": "pytest_robust.models.family_networks:linear",
    "ladder_mlp_narrow": "pytest_robust.models.family_networks:mlp_narrow",
    "ladder_mlp_wide": "pytest_robust.models.family_networks:mlp_wide",
    "ladder_convnet_8": "pytest_robust.models.family_networks:convnet_8",
    "ladder_convnet_16": "pytest_robust.models.family_networks:convnet_16",
    "ladder_convnet_32": "pytest_robust.models.family_networks:convnet_32",
    "ladder_resnet_small": "pytest_robust.models.family_networks:resnet_small",
    "ladder_resnet_large": "pytest_robust.models.family_networks:resnet_large",
    "mismatch_cnn": "pytest_robust.models.mismatch_networks:mismatch_cnn",
    "mismatch_cnn_digits": "pytest_robust.models.mismatch_networks:mismatch_cnn_digits",
    "mismatch_mlp": "pytest_robust.models.mismatch_networks:mismatch_mlp",
    "resnet50_cifar": "pytest_robust.models.mismatch_networks:resnet50_cifar",
}

ATTACKS = {
    "fgsm": "pytest_robust.attacks.catalogue:FGSM",
    "fgsm_targeted": "pytest_robust.attacks.catalogue:FGSM_TARGETED",
    "bim": "pytest_robust.attacks.catalogue:BIM",
    "pgd": "pytest_robust.attacks.catalogue:PGD",
    "deepfool": "pytest_robust.attacks.catalogue:DEEPFOOL",
    "cw_l2": "pytest_robust.attacks.catalogue:CW_L2",
    "apgd": "pytest_robust.attacks.catalogue:APGD",
    "square": "pytest_robust.attacks.catalogue:SQUARE",
    "jsma": "pytest_robust.attacks.catalogue:JSMA",
    "smallest_budget": "pytest_robust.attacks.catalogue:SMALLEST_BUDGET",
    "fgsm_smallest": "pytest_robust.attacks.catalogue:FGSM_SMALLEST",
    "bim_smallest": "pytest_robust.attacks.catalogue:BIM_SMALLEST",
    "fgs": "pytest_robust.attacks.catalogue:FGS",
    "fgv": "pytest_robust.attacks.catalogue:FGV",
    "hot_cold": "pytest_robust.attacks.catalogue:HOT_COLD",
    "gaussian_blur": "pytest_robust.attacks.catalogue:GAUSSIAN_BLUR",
    "gaussian_noise": "pytest_robust.attacks.catalogue:GAUSSIAN_NOISE",
    "salt_and_pepper": "pytest_robust.attacks.catalogue:SALT_AND_PEPPER",
    "ascent": "pytest_robust.attacks.catalogue:ASCENT",
    "ascent_extended": "pytest_robust.attacks.catalogue:ASCENT_EXTENDED",
    "hopskipjump": "pytest_robust.attacks.catalogue:HOPSKIPJUMP",
    "boundary": "pytest_robust.attacks.catalogue:BOUNDARY",
    "zoo": "pytest_robust.attacks.catalogue:ZOO",
    "autoattack": "pytest_robust.attacks.catalogue:AUTOATTACK",
}

FAMILIES = {
    "digits": "pytest_robust.bench.trained_families:digits",
    "mnist": "pytest_robust.bench.trained_families:mnist",
    "imagenet-paper": "pytest_robust.bench.imagenet_families:imagenet_paper",
    "imagenet-small": "pytest_robust.bench.imagenet_families:imagenet_small",
}


def builtin_defenses() -> dict[str, str]:
    """One entry per module in ``defenses/``: adding a defense is adding a file.

    The module ``NAME.py`` holds the defense that is registered as NAME, under the attribute ``defense``.
    """
    import pytest_robust.defenses as folder

    names = [module.name for module in pkgutil.iter_modules(folder.__path__) if not module.name.startswith("_")]
    return {name: f"pytest_robust.defenses.{name}:defense" for name in names}


@dataclass(frozen=True)
class Registries:
    """The five registries of one session; what a user's hook registers ends with the session.

    Args:
        datasets: functions from a `DataSource` to a `Dataset`.
        architectures: functions from the number of classes and the input shape (C, H, W) to an ``nn.Module``.
        attacks: `Attack` objects.
        defenses: `Defense` subclasses.
        families: functions from a `Bench`, or from nothing, to named networks.
    """

    datasets: Registry[Any] = field(default_factory=lambda: Registry("data set", DATASETS, "pytest_robust.datasets"))
    architectures: Registry[Any] = field(
        default_factory=lambda: Registry(
            "architecture",
            ARCHITECTURES,
            "pytest_robust.architectures",
            {
                "torchvision:": "pytest_robust.models.torchvision_models:architecture",
                "ensemble_variant:": "pytest_robust.models.ensemble_networks:variant",
            },
        )
    )
    attacks: Registry[Any] = field(
        default_factory=lambda: Registry(
            "attack", ATTACKS, "pytest_robust.attacks", {"art:": "pytest_robust.attacks.adapter:art_attack"}
        )
    )
    defenses: Registry[Any] = field(
        default_factory=lambda: Registry("defense", builtin_defenses(), "pytest_robust.defenses")
    )
    families: Registry[Any] = field(default_factory=lambda: Registry("family", FAMILIES, "pytest_robust.families"))
