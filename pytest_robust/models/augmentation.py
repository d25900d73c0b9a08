"""Random changes to training images, for a whole batch at once and on its device."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

SHIFT = 4


def flip_crop(x: Tensor, flip: Tensor, shift: Tensor) -> Tensor:
    """Mirrored and shifted images, what slides in being black (He et al., arXiv:1512.03385, section 4.2).

    Args:
        x: images, float of shape (N, C, H, W), in either memory format, which is kept.
        flip: bool of shape (N,): which ones are mirrored left to right.
        shift: int64 of shape (N, 2): how far down and to the right the window starts, 0 .. 2·SHIFT; SHIFT is centred.
    """
    n, _, h, w = x.shape
    nhwc = F.pad(x, (SHIFT, SHIFT, SHIFT, SHIFT)).permute(0, 2, 3, 1)
    rows = shift[:, :1] + torch.arange(h, device=x.device)
    columns = torch.arange(w, device=x.device).expand(n, w)
    columns = shift[:, 1:] + torch.where(flip[:, None], w - 1 - columns, columns)
    images = torch.arange(n, device=x.device)[:, None, None]
    return nhwc[images, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def draw(n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Random `flip` and `shift` of `flip_crop` for `n` images, on the CPU, so that every device draws the same."""
    flip = torch.randint(2, (n,), generator=generator, dtype=torch.bool)
    return flip, torch.randint(2 * SHIFT + 1, (n, 2), generator=generator)
