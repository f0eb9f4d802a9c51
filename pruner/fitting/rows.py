"""Activations as rows of features and targets.

A place is a token or a pixel, by its number in the image. Where an image has more places than a fit needs, some are
drawn at random.
"""

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

Rows = Callable[[Tensor, Tensor], Tensor]
"""(activations (B, N, C) of tokens or (B, C, H, W) of images, places (P,) in an image) -> rows (B * P, features)."""

_ROWS_PER_FEATURE: Final = 20
_PRODUCTS: Final = 1.5e11
"""How many multiplications the sums of a fit may take before it gets fewer rows: some seconds on one core."""


def rows_wanted(features: int) -> int:
    """How many rows a fit of so many features is given: 20 for each feature, and more where they cost little."""
    return max(_ROWS_PER_FEATURE * features, int(_PRODUCTS / features**2))


def places_of(x: Tensor, wanted: int, random: torch.Generator) -> Tensor:
    """Draws places of an image, the same for all images of a batch.

    Args:
        x: Activations (B, N, C) of tokens or (B, C, H, W) of images.
        wanted: How many places to draw; all are taken where there are no more.
        random: The generator to draw from.

    Returns:
        (P,) places in ascending order.
    """
    there = x.shape[1] if x.dim() == 3 else x.shape[2] * x.shape[3]
    if wanted >= there:
        return torch.arange(there, device=x.device)
    return torch.randperm(there, generator=random)[:wanted].sort().values.to(x.device)


def values(x: Tensor, places: Tensor) -> Tensor:
    """The channels at the given places as rows (B * P, C), of tokens (B, N, C) or images (B, C, H, W)."""
    if x.dim() == 3:
        return x[:, places].flatten(0, 1)
    return x.flatten(2)[:, :, places].transpose(1, 2).flatten(0, 1)


def patches(x: Tensor, places: Tensor, side: int = 3, stride: int = 1) -> Tensor:
    """The patches that a convolution padded with zeros reads for the given places of its output.

    Args:
        x: Its input (B, C, H, W).
        places: Places (P,) of its output.
        side: The side of its kernel, which is odd.
        stride: Its stride.

    Returns:
        Rows (B * P, C * side * side), the taps of a channel side by side as in a kernel.
    """
    width = -(-x.shape[3] // stride)
    padded = functional.pad(x, (side // 2,) * 4)
    taps = torch.arange(side, device=x.device)
    rows = stride * (places // width)[:, None, None] + taps[None, :, None]
    columns = stride * (places % width)[:, None, None] + taps[None, None, :]
    seen = padded[:, :, rows, columns]  # (B, C, P, side, side)
    return seen.transpose(1, 2).flatten(2).flatten(0, 1)
