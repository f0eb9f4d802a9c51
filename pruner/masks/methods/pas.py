"""PaS: binary indicators that are learned through a straight-through estimator."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pruner.masks.methods.method import Method, method
from pruner.masks.methods.smart import ranks

if TYPE_CHECKING:
    from pruner.masks.masked import Masked

_THRESHOLD = 0.5


@method
@dataclass(frozen=True)
class Pas(Method):
    """PaS (arXiv 2206.01198): an indicator of every group is 1 where its number s is above 0.5 and 0 elsewhere, and
    hands its gradient to s as it is. The loss has `weight` times (cost - target)^2 beside it.

    The form of that term is known from memory alone, and what the cost is, is ours: the share of the groups that is
    in, for that is what the other methods are held to; the paper counts multiplications. s begins at 0.5 plus half
    the rank of the group's magnitude, so that all are in, and those of small magnitude are the first to go. For N:M
    the groups are single weights, and the N best of every M are only chosen at the end.
    """

    name = "pas"
    mask_lr_scale: float = 30.0
    weight: float = 20.0

    def initial_masks(self, masked: "Masked") -> dict[str, Tensor]:
        return {key: _THRESHOLD + 0.5 * rank for key, rank in ranks(masked.magnitudes()).items()}

    def masks(self, masked: "Masked", searched: float) -> Mapping[str, Tensor]:
        return {key: indicator(score) for key, score in masked.masks.items()}

    def penalty(self, masked: "Masked", searched: float) -> Tensor:
        inside = torch.cat([indicator(score) for score in masked.masks.values()]).mean()
        return self.weight * (inside - (1 - masked.selection.sparsity)).square()

    def scores(self, masked: "Masked") -> Mapping[str, Tensor]:
        return dict(masked.masks.items())


def indicator(scores: Tensor) -> Tensor:
    """1 above 0.5, else 0; its gradient is that of the scores themselves."""
    hard = (scores.detach() > _THRESHOLD).to(scores.dtype)
    return hard + (scores - scores.detach())
