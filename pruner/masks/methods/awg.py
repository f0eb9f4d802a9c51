"""AWG: accumulated weights and gradients, in several cycles of scoring, pruning and training on."""

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
    """AWG (SMART's appendix G): the search is `cycles` of equal length; after each the groups of the least importance
    go, as many more each time, and never come back. The last of them go where the search ends.

    The importance of a weight is |w before the pruning| times a moving average of |its gradient|, that of a group the
    mean over it, times a factor that favours layers which are sparse already. The exact formula is open. Ours: the
    average keeps `decay` at each step, and the factor is one over the share of the layer's groups that is left.
    """

    name = "awg"
    cycles: int = 4
    decay: float = 0.9

    def memory(self, masked: "Masked") -> dict[str, Tensor]:
        """The sizes of the weights as they came, and the moving averages of those of their gradients."""
        weights = {key: weight.detach().abs() for key, weight in masked.weights().items()}
        averages = {_average(key): torch.zeros_like(weight) for key, weight in weights.items()}
        return {_pretrained(key): weight for key, weight in weights.items()} | averages

    def phase(self, searched: float) -> int:
        return min(int(searched * self.cycles), self.cycles - 1)

    def enter(self, masked: "Masked", phase: int) -> None:
        masked.decide(masked.selection.hard(self.scores(masked), phase / self.cycles))

    def masks(self, masked: "Masked", searched: float) -> Mapping[str, Tensor]:
        return masked.support()

    @torch.no_grad()
    def on_gradients(self, masked: "Masked", searched: float) -> None:
        for key, weight in masked.weights().items():
            if weight.grad is not None and bool(weight.grad.isfinite().all()):
                masked.memory.get_buffer(_average(key)).lerp_(weight.grad.abs(), 1 - self.decay)

    def scores(self, masked: "Masked") -> Mapping[str, Tensor]:
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
