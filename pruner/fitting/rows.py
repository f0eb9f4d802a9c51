"""Activations as rows of features and targets, at places that are drawn where there are more than a fit needs."""

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

Rows = Callable[[Tensor, Tensor], Tensor]
"""(activations (B, N, C) or (B, C, H, W), places (P,) in an image) -> rows (B * P, features)."""

_ROWS_PER_FEATURE: Final = 20
_PRODUCTS: Final = 1.5e11
"""A fit whose products take no more multiplications than that has all rows: seconds on one core."""


def rows_wanted(features: int) -> int:
    """How many rows a fit of so many features is given: 20 for each, and more where they cost little."""
    return max(_ROWS_PER_FEATURE * features, int(_PRODUCTS / features**2))


def places_of(x: Tensor, wanted: int, random: torch.Generator) -> Tensor:
    """Places of an image of the batch, `wanted` of them or all that there are: (P,), in order."""
    there = x.shape[1] if x.dim() == 3 else x.shape[2] * x.shape[3]
    if wanted >= there:
        return torch.arange(there, device=x.device)
    return torch.randperm(there, generator=random)[:wanted].sort().values.to(x.device)


def values(x: Tensor, places: Tensor) -> Tensor:
    """The channels at every place: (B * P, C)."""
    if x.dim() == 3:
        return x[:, places].flatten(0, 1)
    return x.flatten(2)[:, :, places].transpose(1, 2).flatten(0, 1)


def patches(x: Tensor, places: Tensor, side: int = 3, stride: int = 1) -> Tensor:
    """What a convolution of that side, padded with zeros, sees at every place of its output:
    (B * P, C * side * side), the taps of a channel together, as in a kernel."""
    width = -(-x.shape[3] // stride)
    padded = functional.pad(x, (side // 2,) * 4)
    taps = torch.arange(side, device=x.device)
    rows = stride * (places // width)[:, None, None] + taps[None, :, None]
    columns = stride * (places % width)[:, None, None] + taps[None, None, :]
    seen = padded[:, :, rows, columns]  # (B, C, P, side, side)
    return seen.transpose(1, 2).flatten(2).flatten(0, 1)
