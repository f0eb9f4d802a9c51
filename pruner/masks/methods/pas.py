"""PaS: binary indicators of groups, learned through a straight-through estimator."""

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
    """PaS (arXiv 2206.01198): one learned number s for each group, whose indicator is the mask.

    The indicator is 1 where s is above 0.5, and 0 elsewhere. It hands its gradient to s as it is. To the loss is added
    `weight` times (cost - target)^2.

    The form of that term was not checked against the paper. The cost here is the share of groups that stay, like the
    target of the other methods; the paper counts multiplications. s begins at 0.5 plus half the rank of the group's
    magnitude, so that all groups stay at first and those of small magnitude are the first to go. For N:M the groups are
    single weights, and the N best of every M are only chosen at the end.

    Attributes:
        weight: The weight of the added term.
    """

    name = "pas"
    mask_lr_scale: float = 30.0
    weight: float = 20.0

    def initial_masks(self, masked: "Masked") -> dict[str, Tensor]:
        """The number s of each group: 0.5 plus half the rank of its magnitude, in (0.5, 1]."""
        return {key: _THRESHOLD + 0.5 * rank for key, rank in ranks(masked.magnitudes()).items()}

    def masks(self, masked: "Masked", searched: float) -> Mapping[str, Tensor]:
        """The indicators, 0 or 1, through which s learns."""
        return {key: indicator(score) for key, score in masked.masks.items()}

    def penalty(self, masked: "Masked", searched: float) -> Tensor:
        """`weight` times the squared difference between the share of groups that stay and the target."""
        inside = torch.cat([indicator(score) for score in masked.masks.values()]).mean()
        return self.weight * (inside - (1 - masked.selection.sparsity)).square()

    def scores(self, masked: "Masked") -> Mapping[str, Tensor]:
        """The numbers s."""
        return dict(masked.masks.items())


def indicator(scores: Tensor) -> Tensor:
    """1 where a score is above 0.5, else 0; the gradient is handed to the scores as it is."""
    hard = (scores.detach() > _THRESHOLD).to(scores.dtype)
    return hard + (scores - scores.detach())
