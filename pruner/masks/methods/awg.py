"""AWG: accumulated weights and gradients, in several cycles of scoring, pruning and further training."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pruner.masks.methods.method import Method, method

if TYPE_CHECKING:
    from pruner.masks.masked import Masked


@method
@dataclass(frozen=True)
class Awg(Method):
    """AWG (appendix G of the SMART pruner, arXiv 2403.19969): groups are removed for good after each of several cycles.

    After each cycle the same number of groups is removed, those of the least importance; the last ones are removed
    where the search ends. The importance of a weight is |w before the pruning| times a moving average of |its
    gradient|. That of a group is the mean over its weights, times a factor that favours layers which are sparse
    already.

    The paper leaves the exact formula open. Here the average keeps `decay` at each step, and the factor is one over the
    share of the layer's groups that is left.

    Attributes:
        cycles: How many cycles of equal length the search has.
        decay: What the moving average keeps at each step, in [0, 1].
    """

    name = "awg"
    cycles: int = 4
    decay: float = 0.9

    def memory(self, masked: "Masked") -> dict[str, Tensor]:
        """The absolute values of the weights before the pruning, and the moving averages of those of the gradients."""
        weights = {key: weight.detach().abs() for key, weight in masked.weights().items()}
        averages = {_average(key): torch.zeros_like(weight) for key, weight in weights.items()}
        return {_pretrained(key): weight for key, weight in weights.items()} | averages

    def phase(self, searched: float) -> int:
        """The number of the cycle, from 0 to `cycles` - 1."""
        return min(int(searched * self.cycles), self.cycles - 1)

    def enter(self, masked: "Masked", phase: int) -> None:
        """Removes the groups of the least importance, as many as are to be gone at the start of this cycle."""
        masked.decide(masked.selection.hard(self.scores(masked), phase / self.cycles))

    def masks(self, masked: "Masked", searched: float) -> Mapping[str, Tensor]:
        """The hard masks of the cycle."""
        return masked.support()

    @torch.no_grad()
    def on_gradients(self, masked: "Masked", searched: float) -> None:
        """Updates the moving averages; gradients that are not finite are left out."""
        for key, weight in masked.weights().items():
            if weight.grad is not None and bool(weight.grad.isfinite().all()):
                masked.memory.get_buffer(_average(key)).lerp_(weight.grad.abs(), 1 - self.decay)

    def scores(self, masked: "Masked") -> Mapping[str, Tensor]:
        """The importance of each group, (entries,); -1 for groups that are removed already."""
        found = {}
        for part, (key, inside) in zip(masked.parts, masked.support().items(), strict=True):
            sizes = masked.memory.get_buffer(_pretrained(key)) * masked.memory.get_buffer(_average(key))
            importance = part.mean(sizes) / inside.float().mean()
            found[key] = importance.masked_fill(~inside, -1.0)
        return found


def _pretrained(key: str) -> str:
    return f"{key}|pretrained"


def _average(key: str) -> str:
    return f"{key}|gradient"
