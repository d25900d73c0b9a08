"""Two attacks of a study, compared on the images and networks on which both succeeded."""

from __future__ import annotations

import torch
from torch import Tensor

from pytest_robust.studies.crossed import Crossed


def paired_entries(crossed: Crossed, field: str, first: str, second: str) -> tuple[Tensor, Tensor, Tensor]:
    """A field of `Crafted` under two attacks, on the images and networks on which both succeeded.

    Returns:
        The two columns of values, float64 of shape (entries,), and int64 of shape (entries,): each entry's image.
    """
    both = crossed.stacked(first, "success") & crossed.stacked(second, "success")
    image = torch.arange(len(both))[:, None].expand_as(both)
    return crossed.stacked(first, field)[both], crossed.stacked(second, field)[both], image[both]


def larger_on(crossed: Crossed, field: str, first: str, second: str) -> list[str]:
    """The networks whose mean of a field of `Crafted` is larger under one attack, where both succeeded."""
    both = crossed.stacked(first, "success") & crossed.stacked(second, "success")
    more = torch.where(both, crossed.stacked(first, field) - crossed.stacked(second, field), 0.0).sum(0)
    return [
        network for network, sum_of_differences in zip(crossed.networks, more, strict=True) if sum_of_differences > 0
    ]
