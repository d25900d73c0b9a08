"""The built-in attacks. Listing and configuring them imports neither ART nor the attacks themselves.

Their parameters are complete, so that `Attack.configured` needs the class only to judge a name it does not know.
"""

from __future__ import annotations

from pytest_robust.attacks.attack import Attack

FGSM = Attack(
    name="fgsm",
    implementation="pytest_robust.attacks.fgsm:FGSM",
    params={"norm": "inf", "eps": 0.1, "num_random_init": 0, "batch_size": None},
    iterations=("num_random_init",),
    reference="Goodfellow et al. 2015, Explaining and Harnessing Adversarial Examples, arXiv:1412.6572",
)

FGSM_TARGETED = Attack(
    name="fgsm_targeted",
    implementation="pytest_robust.attacks.fgsm:FGSM",
    params={"norm": "inf", "eps": 0.1, "num_random_init": 0, "batch_size": None},
    target="least_likely",
    iterations=("num_random_init",),
    reference="Kurakin et al. 2017, Adversarial Machine Learning at Scale, arXiv:1611.01236",
)

BIM = Attack(
    name="bim",
    implementation="pytest_robust.attacks.pgd:BIM",
    params={"norm": "inf", "eps": 0.1, "eps_step": 0.01, "max_iter": 20, "batch_size": None},
    iterations=("max_iter",),
    reference="Kurakin et al. 2017, Adversarial Examples in the Physical World, arXiv:1607.02533",
)

PGD = Attack(
    name="pgd",
    implementation="pytest_robust.attacks.pgd:PGD",
    params={
        "norm": "inf",
        "eps": 0.1,
        "eps_step": 0.01,
        "max_iter": 40,
        "num_random_init": 1,
        "batch_size": None,
    },
    iterations=("max_iter", "num_random_init"),
    reference="Madry et al. 2018, Towards Deep Learning Models Resistant to Adversarial Attacks, arXiv:1706.06083",
)

DEEPFOOL = Attack(
    name="deepfool",
    implementation="pytest_robust.attacks.deepfool:DeepFool",
    params={"max_iter": 50, "epsilon": 0.02, "nb_grads": 10, "batch_size": None},
    norm="l2",
    iterations=("max_iter", "nb_grads"),
    reference="Moosavi-Dezfooli et al. 2016, DeepFool, arXiv:1511.04599",
)

CW_L2 = Attack(
    name="cw_l2",
    implementation="pytest_robust.attacks.cw_l2:CarliniWagnerL2",
    params={
        "confidence": 0.0,
        "learning_rate": 0.05,
        "binary_search_steps": 5,
        "max_iter": 100,
        "initial_const": 1.0,
        "batch_size": None,
    },
    norm="l2",
    iterations=("binary_search_steps", "max_iter"),
    reference="Carlini & Wagner 2017, Towards Evaluating the Robustness of Neural Networks, arXiv:1608.04644",
)

APGD = Attack(
    name="apgd",
    implementation="pytest_robust.attacks.apgd:BestAPGD",
    params={
        "norm": "inf",
        "eps": 0.1,
        "eps_step": 0.1,
        "max_iter": 100,
        "nb_random_init": 1,
        "loss_type": "cross_entropy",
        "batch_size": None,
    },
    iterations=("max_iter", "nb_random_init"),
    reference="Croce & Hein 2020, Reliable Evaluation of Adversarial Robustness, arXiv:2003.01690; ART's "
    "AutoProjectedGradientDescent, of which the best iterate is kept",
)

SQUARE = Attack(
    name="square",
    implementation="art.attacks.evasion.square_attack:SquareAttack",
    params={"norm": "inf", "eps": 0.1, "max_iter": 1000, "p_init": 0.8, "nb_restarts": 1, "batch_size": None},
    gradient_calls=0,
    reference="Andriushchenko et al. 2020, Square Attack, arXiv:1912.00049; ART's, which draws one square for a whole "
    "batch and is therefore weaker than the paper's",
)

HOPSKIPJUMP = Attack(
    name="hopskipjump",
    implementation="art.attacks.evasion.hop_skip_jump:HopSkipJump",
    params={"norm": 2, "max_iter": 50, "max_eval": 10_000, "init_eval": 100, "init_size": 100, "batch_size": None},
    norm="l2",
    gradient_calls=0,
    reference="Chen et al. 2020, HopSkipJumpAttack, arXiv:1904.02144; ART's, one image at a time",
)

BOUNDARY = Attack(
    name="boundary",
    implementation="art.attacks.evasion.boundary:BoundaryAttack",
    params={
        "delta": 0.01,
        "epsilon": 0.01,
        "step_adapt": 0.667,
        "max_iter": 5000,
        "num_trial": 25,
        "sample_size": 20,
        "init_size": 100,
        "min_epsilon": 0.0,
        "batch_size": None,
    },
    norm="l2",
    gradient_calls=0,
    reference="Brendel et al. 2018, Decision-Based Adversarial Attacks, arXiv:1712.04248; ART's, one image at a time",
)

ZOO = Attack(
    name="zoo",
    implementation="art.attacks.evasion.zoo:ZooAttack",
    # Neither resizing nor importance sampling: ART's fail on images smaller than 32 pixels. Its batches of more than
    # one image share a noise array of the first batch's size.
    params={
        "confidence": 0.0,
        "learning_rate": 0.01,
        "max_iter": 100,
        "binary_search_steps": 5,
        "initial_const": 1.0,
        "abort_early": True,
        "use_resize": False,
        "use_importance": False,
        "nb_parallel": 64,
        "variable_h": 1e-4,
        "batch_size": 1,
    },
    norm="l2",
    gradient_calls=0,
    reference="Chen et al. 2017, ZOO, arXiv:1708.03999; ART's",
)

AUTOATTACK = Attack(
    name="autoattack",
    implementation="art.attacks.evasion.auto_attack:AutoAttack",
    params={"norm": "inf", "eps": 0.1, "eps_step": 0.1, "batch_size": None},
    gradient_calls=2 * 5 * 100 + 10 * 100,
    reference="Croce & Hein 2020, arXiv:2003.01690; ART's set (APGD-CE, APGD-DLR, DeepFool, Square) is not the "
    "standard one (no APGD-T, no FAB-T), so figures are not comparable with RobustBench's",
)
