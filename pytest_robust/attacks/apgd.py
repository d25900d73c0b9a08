"""ART's Auto-PGD, of which the best iterate is kept (Croce & Hein 2020, https://arxiv.org/abs/2003.01690)."""

from __future__ import annotations

from typing import Any

import numpy as np
from art.attacks.evasion import AutoProjectedGradientDescent
from art.utils import check_and_transform_label_format
from numpy.typing import NDArray
from torch import Tensor, nn

from pytest_robust.attacks.objectives import runner_up
from pytest_robust.models.art import art_estimator


class RunnerUp(nn.CrossEntropyLoss):
    """`runner_up` as a loss that ART takes: a cross-entropy, so that ART hands it labels as integers."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:  # noqa: A002 - torch's name
        """`runner_up` of logits (n, K) and labels (n,), reduced as `reduction` says."""
        values = runner_up(input, target)
        return values if self.reduction == "none" else getattr(values, self.reduction)()


class BestAPGD(AutoProjectedGradientDescent):  # type: ignore[misc]
    """Auto-PGD that does not throw its best iterate away.

    ART returns the last iterate where that one fools the model, and the random start where it does not. Here an image
    that the last iterate does not fool gets the iterate with the highest loss, which the paper returns. Restarts
    attack what is still robust; of an image that no restart breaks, the last restart's best iterate is kept.

    Arguments are ART's. Without a `loss_type` it climbs `runner_up`, as this package's own attacks do: the order of its
    values is the cross-entropy's, but large logits do not round its gradient to zero, as they do the cross-entropy's
    in float32. A `loss_type` that is given is what ART makes of it.
    """

    def __init__(
        self,
        estimator: Any,
        norm: float | str = np.inf,
        eps: float = 0.3,
        eps_step: float = 0.1,
        max_iter: int = 100,
        targeted: bool = False,
        nb_random_init: int = 5,
        batch_size: int = 32,
        loss_type: str | None = None,
        verbose: bool = True,
    ) -> None:
        super().__init__(
            art_estimator(estimator.model, RunnerUp()) if loss_type is None else estimator,
            norm=norm,
            eps=eps,
            eps_step=eps_step,
            max_iter=max_iter,
            targeted=targeted,
            nb_random_init=nb_random_init,
            batch_size=batch_size,
            loss_type=loss_type,
            verbose=verbose,
        )

    def generate(self, x: NDArray[Any], y: NDArray[Any] | None = None, **kwargs: Any) -> NDArray[Any]:
        """Perturbed images; `y` holds labels (targets, where the attack is targeted) and is needed."""
        if y is None:
            raise ValueError("labels are needed")
        y = check_and_transform_label_format(y, nb_classes=self.estimator.nb_classes)
        result = x.astype(np.float32)
        restarts: int = self.nb_random_init
        self.nb_random_init: int = 1
        try:
            for _ in range(restarts):
                robust = np.flatnonzero(self._robust(result, y))
                for start in range(0, len(robust), self.batch_size):
                    rows = robust[start : start + self.batch_size]
                    result[rows] = self._best(x[rows], y[rows], **kwargs)
        finally:
            self.nb_random_init = restarts
        return result

    def _best(self, x: NDArray[Any], y: NDArray[Any], **kwargs: Any) -> NDArray[Any]:
        made = super().generate(x, y, **kwargs)
        attacked = np.flatnonzero(self._robust(x, y))
        if len(attacked) == 0:
            return made  # type: ignore[no-any-return]
        kept = self._robust(made[attacked], y[attacked])
        made[attacked[kept]] = self.x_max[kept]
        return made  # type: ignore[no-any-return]

    def _robust(self, x: NDArray[Any], y: NDArray[Any]) -> NDArray[np.bool_]:
        answers = np.argmax(self.estimator.predict(x, batch_size=self.batch_size), axis=1)
        robust = (answers == np.argmax(y, axis=1)) != self.targeted
        return np.asarray(robust, dtype=np.bool_)
