"""ART's Auto-PGD, of which the best iterate is kept (Croce & Hein 2020, https://arxiv.org/abs/2003.01690)."""

from __future__ import annotations

from typing import Any

import numpy as np
from art.attacks.evasion import AutoProjectedGradientDescent
from art.utils import check_and_transform_label_format
from numpy.typing import NDArray


class BestAPGD(AutoProjectedGradientDescent):  # type: ignore[misc]
    """Auto-PGD that does not throw its best iterate away.

    ART returns the last iterate where that one fools the model, and the random start where it does not. Here an image
    that the last iterate does not fool gets the iterate with the highest loss, which the paper returns. Restarts
    attack what is still robust; of an image that no restart breaks, the last restart's best iterate is kept.

    Arguments are ART's.
    """

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
