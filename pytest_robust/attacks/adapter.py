"""ART's own attacks, and others that only have ``generate``, made safe to use.

What ART leaves to its caller is done here: true labels are always passed, the model's mode and gradients come back,
NumPy's, torch's and Python's random states are seeded and come back, images are float32, and an attack that looks for
the smallest perturbation leaves alone what fools the model already.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from art.attacks.attack import EvasionAttack
from art.estimators.classification.classifier import ClassGradientsMixin
from art.estimators.estimator import LossGradientsMixin
from torch import Tensor
from torch.nn import functional as F

from pytest_robust.attacks.attack import NORMS, Attack, Norm
from pytest_robust.attacks.base import TorchAttack
from pytest_robust.attacks.isolation import current_device, seeded
from pytest_robust.errors import AttackError, UnknownNameError

#: Norms of ART's attacks that have no parameter for it.
_NORMS: dict[str, Norm] = {
    "BasicIterativeMethod": "linf",
    "BoundaryAttack": "l2",
    "CarliniL0Method": "l0",
    "CarliniL2Method": "l2",
    "CarliniLInfMethod": "linf",
    "DeepFool": "l2",
    "ElasticNet": "l1",
    "NewtonFool": "l2",
    "SaliencyMapMethod": "l0",
    "ZooAttack": "l2",
}
#: Attacks that ART leaves out of its name space where their package is missing.
_NEEDS = {"BrendelBethgeAttack": "numba"}
#: Attacks of ART's that break in batches of more than one image.
_ONE_BY_ONE = frozenset({"ZooAttack"})
#: Attacks made of others, some of which ask for gradients.
_COMPOSED = frozenset({"AutoAttack"})
#: What `Attack.build` fills in itself.
_NOT_SETTINGS = frozenset({"self", "estimator", "classifier", "targeted", "verbose", "summary_writer", "seed"})


class Adapted(TorchAttack):
    """An attack that only has ``generate``, with ``perturb`` and without its traps.

    Args:
        attack: a built ART ``EvasionAttack``; it stays reachable as ``.attack``.
        name: what messages call it.
        targeted: whether `y` holds the classes to reach.
        seed: of the global random states while it runs.

    Raises:
        AttackError: the model is on a device that ART does not know.
    """

    _estimator_requirements = ()

    def __init__(self, attack: EvasionAttack, *, name: str, targeted: bool, seed: int) -> None:
        super().__init__(
            attack.estimator, targeted=targeted, batch_size=int(getattr(attack, "batch_size", 0) or 64), seed=seed
        )
        self.attack = attack
        self.name = name
        if self.device.type not in ("cpu", "cuda"):
            raise AttackError(f"ART's own attacks run on cpu and cuda, not on {self.device}: choose another --device.")
        for part in getattr(attack, "attacks", ()):
            part.verbose = False

    def perturb(self, x: Tensor, y: Tensor) -> Tensor:
        """Perturbed images, float32 of shape (N, C, H, W), on `x`'s device.

        Args:
            x: images, float32 of shape (N, C, H, W), in [0, 1].
            y: labels (targets, where the attack is targeted), int64 of shape (N,).

        Raises:
            AttackError: the attack fails, or needs a package that is not installed.
            DataError: images that are not in [0, 1], or labels out of range.
        """
        with seeded(self.seed, self.device):
            return super().perturb(x, y)

    @property
    def pool_size(self) -> int:
        """All images at once: ART cuts its own batches."""
        return 2**62

    def _attack(self, x: Tensor, y: Tensor) -> Tensor:
        result = x.clone()
        rows = self._unfinished(x, y)
        if len(rows):
            with self._explained(), current_device(self.device):
                labels = F.one_hot(y[rows], self.estimator.nb_classes).float().cpu().numpy()
                made = self.attack.generate(x[rows].cpu().numpy().astype(np.float32), labels)
            if np.shape(made) != (len(rows), *x.shape[1:]):
                raise AttackError(f"the attack {self.name!r} returned shape {np.shape(made)} for {len(rows)} images.")
            result[rows] = torch.from_numpy(np.asarray(made, dtype=np.float32)).to(self.device)
        return result

    def _unfinished(self, x: Tensor, y: Tensor) -> Tensor:
        """Which images are attacked: all with a budget to spend, else those that do not fool the model yet.

        Decision-based attacks of ART's leave the model's answer instead of the label, so they would repair an image
        that the model gets wrong.
        """
        if getattr(self.attack, "eps", None) is not None:
            return torch.arange(len(x), device=x.device)
        robust = (self.logits(x).argmax(1) == y) != bool(self.targeted)
        return robust.nonzero()[:, 0]

    def own_gradients(self, x: Tensor, y: Tensor) -> list[Tensor]:
        """Gradients of the losses that the attack climbs, one of shape (n, C, H, W) each, on the CPU.

        Those that it gets from ART's estimators: a cross-entropy's, mostly, which in float32 is exactly zero where
        logits are large. An attack that differentiates the logits themselves, or none, has no such loss.

        Args:
            x: images, float32 of shape (n, C, H, W).
            y: labels, or targets where the attack is targeted, int64 of shape (n,).
        """
        images = x.cpu().numpy()
        labels = F.one_hot(y.cpu(), self.estimator.nb_classes).float().numpy()
        with current_device(self.device):
            return [torch.from_numpy(estimator.loss_gradient(images, labels)) for estimator in self._climbed]

    @property
    def _climbed(self) -> list[Any]:
        """The estimators whose loss is climbed: the attack's own, or of those that it is made of."""
        attacks = [self.attack, *getattr(self.attack, "attacks", ())]
        return [each.estimator for each in attacks if LossGradientsMixin in (each._estimator_requirements or ())]

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except ImportError as error:
            package = (error.name or "").partition(".")[0]
            raise AttackError(
                f"the attack {self.name!r} needs the package {package!r}, which is not installed; run: "
                f"pip install {package}"
            ) from error
        except (ArithmeticError, AssertionError, LookupError, NotImplementedError, TypeError, ValueError) as error:
            raise AttackError(
                f"the attack {self.name!r} ({type(self.attack).__name__}) failed on images of shape "
                f"{tuple(self.estimator.input_shape)}: {error or type(error).__name__}; check its parameters."
            ) from error


def art_attack(name: str) -> Attack:
    """The attack ``art:NAME``: any evasion attack that ART exports, with ART's own defaults.

    Args:
        name: of the class in ``art.attacks.evasion``.

    Raises:
        UnknownNameError: ART has no such attack; the message holds the nearest names.
        AttackError: it is left out because a package is missing.
    """
    from art.attacks import evasion

    known: dict[str, Any] = {
        k: v for k, v in vars(evasion).items() if inspect.isclass(v) and issubclass(v, EvasionAttack)
    }
    if name not in known:
        if name in _NEEDS:
            raise AttackError(f"the attack 'art:{name}' needs a package; run: pip install {_NEEDS[name]}")
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
        hint = f"; did you mean {' or '.join(f'art:{each}' for each in near)}?" if near else "."
        raise UnknownNameError(f"unknown attack 'art:{name}'{hint} Known are the classes of art.attacks.evasion.")
    art_class = known[name]
    signature = inspect.signature(art_class.__init__).parameters
    params = {k: p.default for k, p in signature.items() if k not in _NOT_SETTINGS and p.default is not p.empty}
    if "batch_size" in params and name not in _ONE_BY_ONE:
        params["batch_size"] = None
    norm = NORMS.get(str(params.get("norm")).removesuffix(".0"), _NORMS.get(name))
    requirements = art_class._estimator_requirements or ()
    differentiates = LossGradientsMixin in requirements or ClassGradientsMixin in requirements or name in _COMPOSED
    return Attack(
        name=f"art:{name}",
        implementation=f"{art_class.__module__}:{art_class.__name__}",
        params={k: "inf" if v == np.inf else v for k, v in params.items()},
        norm=norm,
        gradient_calls=int(differentiates),
        iterations=tuple(k for k in ("max_iter", "num_random_init", "nb_random_init") if k in params),
        reference=f"ART's {art_class.__module__}.{art_class.__name__}",
    )
