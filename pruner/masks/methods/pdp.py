"""PDP: masks that are computed from the weights alone, with nothing to learn beside them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pruner.masks.methods.method import Method, method
from pruner.masks.selection import left_after

if TYPE_CHECKING:
    from pruner.masks.masked import Masked

_RANKED = 1


@method
@dataclass(frozen=True)
class Pdp(Method):
    """PDP (NeurIPS 2023, arXiv 2305.11203): the mask of a group of magnitude w is sigmoid((w^2 - t^2) / tau).

    The threshold t lies midway between the smallest magnitude that stays in the layer and the largest that goes. The
    first `warm_up` of the search is dense. Then magnitudes are sorted over the whole network once, which gives each
    layer the number of groups that it keeps. Until `ramp_end` the layers come down to that number in a straight line.
    For N:M every M neighbours have a threshold of their own.

    Not from the paper: magnitudes of groups are root mean squares, and tau is `softness` times t^2, because the paper's
    fixed tau belongs to the weights of its own networks.

    Attributes:
        warm_up: The share of the search that is dense.
        ramp_end: The share of the search after which each layer has its final number of groups.
        softness: tau over t^2.
    """

    name = "pdp"
    warm_up: float = 0.15
    ramp_end: float = 0.7
    softness: float = 0.1

    def memory(self, masked: "Masked") -> dict[str, Tensor]:
        """How many groups each row of a part keeps, by the part's key. It is set when the groups are ranked."""
        return {part.key: torch.tensor(part.entries) for part in masked.parts}

    def phase(self, searched: float) -> int:
        """0 during the warm-up, 1 after it."""
        return _RANKED if searched >= self.warm_up else 0

    def enter(self, masked: "Masked", phase: int) -> None:
        """Ranks the groups by magnitude, and notes how many each layer keeps."""
        for key, count in masked.selection.kept(masked.magnitudes()).items():
            masked.memory.get_buffer(key).fill_(count)

    def ramp(self, searched: float) -> float:
        """How far the layers have come towards their final numbers of groups, in [0, 1]."""
        return min(1.0, max(0.0, (searched - self.warm_up) / (self.ramp_end - self.warm_up)))

    def masks(self, masked: "Masked", searched: float) -> Mapping[str, Tensor]:
        """The soft masks, through which the weights learn; all true during the warm-up."""
        if int(masked.phase) != _RANKED:
            return masked.support()
        weights = masked.weights()
        squares = {part.key: part.mean(weights[part.key].square()) for part in masked.parts}
        return {key: self._soft(masked, key, square, self.ramp(searched)) for key, square in squares.items()}

    def scores(self, masked: "Masked") -> Mapping[str, Tensor]:
        """Magnitudes over the thresholds of their layers, so that each layer keeps the number that it was given.

        For N:M the threshold is that of the M neighbours.
        """
        found = {}
        for key, sizes in masked.magnitudes().items():
            rows = masked.selection.rows(sizes)
            keep = int(masked.memory.get_buffer(key))
            at = thresholds(rows.square(), keep).sqrt() if keep < rows.shape[1] else torch.full_like(rows[:, :1], 1e-12)
            found[key] = (rows / at.clamp(min=1e-12)).flatten()
        return found

    def _soft(self, masked: "Masked", key: str, squares: Tensor, ramp: float) -> Tensor:
        rows = masked.selection.rows(squares)
        keep = left_after(rows.shape[1], int(masked.memory.get_buffer(key)), ramp)
        if keep == rows.shape[1]:
            return torch.ones_like(squares)
        threshold = thresholds(rows.detach(), keep)
        return torch.sigmoid((rows - threshold) / (self.softness * threshold).clamp(min=1e-12)).flatten()


def thresholds(squares: Tensor, keep: int) -> Tensor:
    """The squared thresholds t^2, with t midway between the `keep`-th largest magnitude of a row and the next.

    Args:
        squares: Squared magnitudes (rows, columns).
        keep: How many of each row stay, from 1 to columns - 1.

    Returns:
        (rows, 1).

    Example:
        >>> import torch
        >>> from pruner.masks.methods.pdp import thresholds
        >>> thresholds(torch.tensor([[1.0, 9.0, 25.0]]), keep=1).tolist()
        [[16.0]]
    """
    ordered = squares.sqrt().sort(dim=1, descending=True).values
    return (0.5 * (ordered[:, keep - 1 : keep] + ordered[:, keep : keep + 1])).square()
