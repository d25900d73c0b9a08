"""Which floating-point precision trains fastest on a device."""

from __future__ import annotations

import torch

from pytest_robust.models.recipe import Precision


def best_precision(device: torch.device) -> Precision:
    """ "bfloat16" where the hardware multiplies it natively, "float32" elsewhere.

    A CPU without such instructions emulates bfloat16, about ten times slower than float32.
    """
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    elif device.type == "cpu":
        native = _cpu_has_bfloat16()
    else:
        native = False
    return "bfloat16" if native else "float32"


def _cpu_has_bfloat16() -> bool:
    # torch offers these under private names only, and not every version has all of them.
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(bool(getattr(torch.cpu, check, bool)()) for check in checks)
