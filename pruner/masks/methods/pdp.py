"""PDP: masks that are a function of the weights alone."""

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
    """PDP (NeurIPS 2023, arXiv 2305.11203): the mask of a group of magnitude w is sigmoid((w^2 - t^2) / tau), where t
    lies midway between the smallest magnitude that stays in the layer and the largest that goes.

    After `warm_up` of the search, dense, magnitudes are sorted over the whole network once, which gives each layer the
    number of groups that it keeps. From then on until `ramp_end` that number falls to it in a straight line. For N:M, t
    is that of every M neighbours.

    Ours: magnitudes of groups are root mean squares, and tau is `softness` times t^2, for the paper's fixed tau goes
    with its own networks' weights.
    """

    name = "pdp"
    warm_up: float = 0.15
    ramp_end: float = 0.7
    softness: float = 0.1

    def memory(self, masked: "Masked") -> dict[str, Tensor]:
        """How many groups each row of a part keeps, by its key: all of them, until they are ranked."""
        return {part.key: torch.tensor(part.entries) for part in masked.parts}

    def phase(self, searched: float) -> int:
        return _RANKED if searched >= self.warm_up else 0

    def enter(self, masked: "Masked", phase: int) -> None:
        for key, count in masked.selection.kept(masked.magnitudes()).items():
            masked.memory.get_buffer(key).fill_(count)

    def ramp(self, searched: float) -> float:
        """How much of the way to the ratios is gone."""
        return min(1.0, max(0.0, (searched - self.warm_up) / (self.ramp_end - self.warm_up)))

    def masks(self, masked: "Masked", searched: float) -> Mapping[str, Tensor]:
        if int(masked.phase) != _RANKED:
            return masked.support()
        weights = masked.weights()
        squares = {part.key: part.mean(weights[part.key].square()) for part in masked.parts}
        return {key: self._soft(masked, key, square, self.ramp(searched)) for key, square in squares.items()}

    def scores(self, masked: "Masked") -> Mapping[str, Tensor]:
        """Magnitudes over the thresholds of their layers, so that each layer keeps the number that it was given."""
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
    """(rows, columns) squared magnitudes -> (rows, 1) t^2, with t midway between the `keep`-th largest magnitude and
    the next."""
    ordered = squares.sqrt().sort(dim=1, descending=True).values
    return (0.5 * (ordered[:, keep - 1 : keep] + ordered[:, keep : keep + 1])).square()
