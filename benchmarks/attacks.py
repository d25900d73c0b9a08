"""Speed and strength of the attacks against other libraries, in units of the passes that an attack cannot do without.

256 MNIST images, the small CNN of the ensembles paper, CPU. One bare pass is a forward pass and the full backward pass
of the cross-entropy, weight gradients included; the time of an attack of k steps is divided by that of k bare passes.
All contenders of an attack get the same model, images, budget and steps, and run interleaved; the medians count.
ART, Foolbox, torchattacks and adv-lib take part where they are installed:

    pip install --no-deps foolbox eagerpy torchattacks adv-lib
    python benchmarks/attacks.py --data-root DIR [--weights FILE] [--json FILE]
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import io
import json
import logging
import statistics
import sys
import time
import types
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from tabulate import tabulate
from torch import Tensor
from torch.nn import functional as F
from torchvision.datasets import MNIST

from pytest_robust.attacks.attack import Attack
from pytest_robust.attacks.catalogue import BIM, CW_L2, DEEPFOOL, FGSM, PGD
from pytest_robust.models.classifier import Classifier
from pytest_robust.models.convnets import small_cnn

Run = Callable[[Tensor, Tensor], Tensor]

EPS, STEP = 0.1, 0.01
FGSM_CALLS, PGD_CALLS, DEEPFOOL_CALLS, CW_CALLS = 1, 40, 50, 500
CW = {"binary_search_steps": 5, "max_iter": 100, "learning_rate": 0.05, "initial_const": 1.0}


def images(root: Path, train: bool, count: int) -> tuple[Tensor, Tensor]:
    data = MNIST(str(root), train=train)
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(0))[:count]
    return data.data[order][:, None].float() / 255, data.targets[order]


def trained(root: Path, weights: Path | None, epochs: int = 3) -> Classifier:
    torch.manual_seed(0)
    model = Classifier(small_cnn(10, (1, 28, 28)), num_classes=10, input_shape=(1, 28, 28), name="small_cnn")
    if weights is not None and weights.exists():
        model.load_state_dict(torch.load(weights, weights_only=True))
        return model
    x, y = images(root, True, 12_000)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    model.train()
    for _ in range(epochs):
        for index in torch.randperm(len(x)).split(64):
            optimizer.zero_grad()
            F.cross_entropy(model(x[index]), y[index]).backward()
            optimizer.step()
    if weights is not None:
        torch.save(model.state_dict(), weights)
    return model.eval()


def bare_pass(model: Classifier, x: Tensor, y: Tensor) -> None:
    model.zero_grad()
    F.cross_entropy(model(x), y).backward()


def ours(attack: Attack, model: Classifier) -> Run:
    return lambda x, y: attack.build(model, seed=0).perturb(x, y)


def from_art(model: Classifier, name: str, **params: Any) -> Run:
    import art.attacks.evasion as evasion

    attack = getattr(evasion, name)(model.art_estimator(), **params)
    return lambda x, y: torch.from_numpy(attack.generate(x.numpy(), F.one_hot(y, 10).float().numpy()))


def art(model: Classifier) -> dict[str, Run]:
    steps = {"eps": EPS, "eps_step": STEP, "max_iter": PGD_CALLS, "batch_size": 256, "verbose": False}
    return {
        "fgsm": from_art(model, "FastGradientMethod", eps=EPS, batch_size=256),
        "pgd": from_art(model, "ProjectedGradientDescent", num_random_init=1, **steps),
        "bim": from_art(model, "BasicIterativeMethod", **steps),
        "deepfool": from_art(model, "DeepFool", max_iter=50, epsilon=0.02, batch_size=256, verbose=False),
    }


def foolbox(model: Classifier) -> dict[str, Run]:
    import foolbox as fb

    wrapped = fb.PyTorchModel(model, bounds=(0, 1), device="cpu")

    def run(attack: Any, eps: float | None) -> Run:
        return lambda x, y: attack(wrapped, x, y, epsilons=eps)[1]

    steps = {"abs_stepsize": STEP, "steps": PGD_CALLS}
    cw = fb.attacks.L2CarliniWagnerAttack(
        binary_search_steps=CW["binary_search_steps"],
        steps=CW["max_iter"],
        stepsize=CW["learning_rate"],
        initial_const=CW["initial_const"],
    )
    return {
        "fgsm": run(fb.attacks.FGSM(), EPS),
        "pgd": run(fb.attacks.LinfPGD(random_start=True, **steps), EPS),
        "bim": run(fb.attacks.LinfPGD(random_start=False, **steps), EPS),
        "deepfool": run(fb.attacks.L2DeepFoolAttack(steps=50, candidates=10, overshoot=0.02), None),
        "cw_l2": run(cw, None),
    }


def torchattacks(model: Classifier) -> dict[str, Run]:
    import torchattacks as ta

    return {
        "fgsm": ta.FGSM(model, eps=EPS),
        "pgd": ta.PGD(model, eps=EPS, alpha=STEP, steps=PGD_CALLS, random_start=True),
        "bim": ta.PGD(model, eps=EPS, alpha=STEP, steps=PGD_CALLS, random_start=False),
        "deepfool": ta.DeepFool(model, steps=50, overshoot=0.02),
        "cw_l2": ta.CW(model, c=1, kappa=0, steps=CW_CALLS, lr=CW["learning_rate"]),
    }


def adv_lib(model: Classifier) -> dict[str, Run]:
    # adv-lib imports a plotting client that none of these attacks uses.
    sys.modules.setdefault("visdom", types.ModuleType("visdom")).Visdom = object  # type: ignore[attr-defined]
    import adv_lib.attacks as al
    from adv_lib.attacks.deepfool import df

    cw = {
        "binary_search_steps": CW["binary_search_steps"],
        "max_iterations": CW["max_iter"],
        "learning_rate": CW["learning_rate"],
        "initial_const": CW["initial_const"],
    }
    pgd = functools.partial(al.pgd_linf, model, ε=EPS, steps=PGD_CALLS, absolute_step_size=STEP)
    return {
        "pgd": lambda x, y: pgd(x, y, random_init=True),
        "bim": lambda x, y: pgd(x, y, random_init=False),
        "deepfool": lambda x, y: df(model, x, y, steps=50, overshoot=0.02, return_unsuccessful=True),
        "cw_l2": lambda x, y: al.carlini_wagner_l2(model, x, y, **cw),
    }


def own(model: Classifier) -> dict[str, Run]:
    return {
        "fgsm": ours(FGSM.configured(eps=EPS), model),
        "pgd": ours(PGD.configured(eps=EPS, eps_step=STEP, max_iter=PGD_CALLS), model),
        "bim": ours(BIM.configured(eps=EPS, eps_step=STEP, max_iter=PGD_CALLS), model),
        "deepfool": ours(DEEPFOOL.configured(max_iter=DEEPFOOL_CALLS), model),
        "cw_l2": ours(CW_L2.configured(**CW), model),
    }


LIBRARIES: dict[str, tuple[str, Callable[[Classifier], dict[str, Run]]]] = {
    "pytest-robust": ("pytest_robust", own),
    "ART": ("art", art),
    "Foolbox": ("foolbox", foolbox),
    "torchattacks": ("torchattacks", torchattacks),
    "adv-lib": ("adv_lib", adv_lib),
}
CALLS = {"fgsm": FGSM_CALLS, "pgd": PGD_CALLS, "bim": PGD_CALLS, "deepfool": DEEPFOOL_CALLS, "cw_l2": CW_CALLS}


def timed(run: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = run()
    return time.perf_counter() - start, result


def quality(model: Classifier, x: Tensor, y: Tensor, adversarial: Tensor) -> dict[str, float]:
    """Success, and the mean L2 over the images that the model got right and lost."""
    right = model.predict(x) == y
    fooled = model.predict(adversarial) != y
    distance = (adversarial - x).flatten(1).norm(dim=1)
    return {"success": float(fooled.float().mean()), "mean_l2": float(distance[right & fooled].mean())}


def race(
    model: Classifier, runs: dict[str, Run], calls: int, x: Tensor, y: Tensor, repeats: int
) -> dict[str, dict[str, float]]:
    seconds: dict[str, list[float]] = {library: [] for library in runs}
    bare: list[float] = []
    result: dict[str, dict[str, float]] = {}
    for _ in range(repeats):
        for library, run in runs.items():
            bare.append(timed(lambda: bare_pass(model, x, y))[0])
            # Libraries print and warn as they run; it is no part of the table.
            with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings(action="ignore"):
                spent, adversarial = timed(functools.partial(run, x.clone(), y.clone()))
            seconds[library].append(spent)
            result[library] = quality(model, x, y, adversarial.detach())
    unit = calls * statistics.median(bare)
    return {k: {**v, "seconds": statistics.median(seconds[k]), "ratio": statistics.median(seconds[k]) / unit}
            for k, v in result.items()}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", type=Path, required=True, help="folder with MNIST in torchvision's layout")
    parser.add_argument("--weights", type=Path, help="cached weights of the CNN; trained and written if missing")
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--threads", type=int, help="of torch; 1 measures best on a busy machine")
    parser.add_argument("--repeats", type=int, default=5, help="of FGSM times four, of the long ones halved")
    parser.add_argument("--attacks", nargs="+", choices=CALLS, default=list(CALLS))
    parser.add_argument("--libraries", nargs="+", choices=LIBRARIES, default=list(LIBRARIES))
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    if options.threads:
        torch.set_num_threads(options.threads)
    model = trained(options.data_root, options.weights)
    x, y = images(options.data_root, False, options.images)
    present = {name: make(model) for name, (module, make) in LIBRARIES.items()
               if name in options.libraries and find_spec(module)}  # fmt: skip
    scale = {"fgsm": 4.0, "deepfool": 0.5, "cw_l2": 0.5}
    figures = {}
    for attack in options.attacks:
        runs = {library: all_runs[attack] for library, all_runs in present.items() if attack in all_runs}
        repeats = max(1, round(options.repeats * scale.get(attack, 1.0)))
        figures[attack] = race(model, runs, CALLS[attack], x, y, repeats)
        rows = [[attack, library, *f.values()] for library, f in figures[attack].items()]
        headers = ["attack", "library", "success", "mean L2", "seconds", f"× {CALLS[attack]} bare passes"]
        print(tabulate(rows, headers, floatfmt=("", "", ".3f", ".3f", ".3f", ".2f")), "\n", flush=True)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
