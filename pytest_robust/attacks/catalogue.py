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
        # A loss whose gradient large logits do not round to zero; ART's are "cross_entropy", "difference_logits_ratio".
        "loss_type": None,
        "batch_size": None,
    },
    iterations=("max_iter", "nb_random_init"),
    reference="Croce & Hein 2020, Reliable Evaluation of Adversarial Robustness, arXiv:2003.01690; ART's "
    "AutoProjectedGradientDescent, of which the best iterate is kept",
)

SQUARE = Attack(
    name="square",
    implementation="pytest_robust.attacks.square:Square",
    params={"norm": "inf", "eps": 0.1, "max_iter": 1000, "p_init": 0.8, "nb_restarts": 1, "batch_size": None},
    gradient_calls=0,
    reference="Andriushchenko et al. 2020, Square Attack, arXiv:1912.00049",
)

JSMA = Attack(
    name="jsma",
    implementation="pytest_robust.attacks.jsma:SaliencyMap",
    params={"theta": 1.0, "gamma": 0.145, "batch_size": None},
    norm="l0",
    # Two passes per pair, and with the paper's settings at most 0.145 · 784 / 2 pairs of a 28×28 image.
    gradient_calls=2 * 56,
    reference="Papernot et al. 2016, The Limitations of Deep Learning in Adversarial Settings, arXiv:1511.07528",
)

SMALLEST_BUDGET = Attack(
    name="smallest_budget",
    implementation="pytest_robust.attacks.smallest_budget:SmallestBudget",
    params={
        "attack": "pgd",
        "parameter": "eps",
        "largest": 0.3,
        "steps": 30,
        "settings": {"norm": "inf", "max_iter": 40, "num_random_init": 0},
        "rule": "madry",
        "batch_size": None,
    },
    gradient_calls=40,
    iterations=("steps",),
    reference="an ascending search, per image, for the smallest strength of another attack that fools the model",
)

FGSM_SMALLEST = Attack(
    name="fgsm_smallest",
    implementation="pytest_robust.attacks.smallest_budget:SmallestBudget",
    # Every budget that is a whole number of grey levels.
    params={
        "attack": "fgsm",
        "parameter": "eps",
        "largest": 1.0,
        "steps": 255,
        "settings": {"norm": "inf"},
        "rule": None,
        "batch_size": None,
    },
    reference="Goodfellow et al. 2015, arXiv:1412.6572, with the smallest ε that fools the model",
)

BIM_SMALLEST = Attack(
    name="bim_smallest",
    implementation="pytest_robust.attacks.smallest_budget:SmallestBudget",
    params={
        "attack": "bim",
        "parameter": "eps",
        "largest": 80 / 255,
        "steps": 80,
        "settings": {"norm": "inf"},
        "rule": "kurakin",
        "batch_size": None,
    },
    # At each budget one step more that all larger ones share, and the rule's four after the ball is reached.
    gradient_calls=5,
    iterations=("steps",),
    reference="Kurakin et al. 2017, arXiv:1607.02533, with the smallest ε that fools the model",
)

FGS = Attack(
    name="fgs",
    implementation="pytest_robust.attacks.fixed_directions:FGS",
    params={"batch_size": None},
    reference="Goodfellow et al. 2015, arXiv:1412.6572, with the smallest step that changes the label of the 8-bit "
    "image, as in Rozsa et al. 2016, arXiv:1610.04563",
)

FGV = Attack(
    name="fgv",
    implementation="pytest_robust.attacks.fixed_directions:FGV",
    params={"batch_size": None},
    norm="l2",
    reference="Rozsa et al. 2016, Adversarial Diversity and Hard Positive Generation, arXiv:1605.01775: fast gradient "
    "value, with the smallest step that changes the label of the 8-bit image",
)

HOT_COLD = Attack(
    name="hot_cold",
    implementation="pytest_robust.attacks.fixed_directions:HotCold",
    params={"hot": 1, "batch_size": None},
    norm="l2",
    reference="Rozsa et al. 2016, Adversarial Diversity and Hard Positive Generation, arXiv:1605.01775: hot/cold, with "
    "the smallest step that changes the label of the 8-bit image",
)

GAUSSIAN_BLUR = Attack(
    name="gaussian_blur",
    implementation="pytest_robust.attacks.degradations:GaussianBlur",
    # A tenth of a pixel at a time, up to the side of an MNIST image, where nothing is left of it.
    params={"largest": 28.0, "steps": 280, "batch_size": None},
    norm="l2",
    gradient_calls=0,
    reference="Monteiro et al., Generalizable Adversarial Examples Detection Based on Bi-model Decision Mismatch: the "
    "smallest blur that fools the model",
)

GAUSSIAN_NOISE = Attack(
    name="gaussian_noise",
    implementation="pytest_robust.attacks.degradations:GaussianNoise",
    params={"largest": 1.0, "steps": 100, "batch_size": None},
    norm="l2",
    gradient_calls=0,
    reference="Monteiro et al., Generalizable Adversarial Examples Detection Based on Bi-model Decision Mismatch: the "
    "smallest scale of one draw of noise that fools the model",
)

SALT_AND_PEPPER = Attack(
    name="salt_and_pepper",
    implementation="pytest_robust.attacks.degradations:SaltAndPepper",
    params={"largest": 1.0, "steps": 100, "repetitions": 1, "batch_size": None},
    norm="l0",
    gradient_calls=0,
    reference="Monteiro et al., Generalizable Adversarial Examples Detection Based on Bi-model Decision Mismatch: the "
    "smallest share of white and black pixels that fools the model",
)

ASCENT = Attack(
    name="ascent",
    implementation="pytest_robust.attacks.ascent:GradientAscent",
    params={"eps_step": 0.005, "max_iter": 50, "extra_iter": 0, "max_l2": None, "batch_size": None},
    norm="l2",
    target="most_likely",
    iterations=("max_iter",),
    reference="Wang, Kunin & Pyron, Exploring Adversarial Input Spaces and Defenses: minimal adversaries",
)

ASCENT_EXTENDED = Attack(
    name="ascent_extended",
    implementation="pytest_robust.attacks.ascent:GradientAscent",
    params={"eps_step": 0.005, "max_iter": 50, "extra_iter": 10, "max_l2": None, "batch_size": None},
    norm="l2",
    target="most_likely",
    gradient_calls=60,
    reference="Wang, Kunin & Pyron, Exploring Adversarial Input Spaces and Defenses: extended adversaries",
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
