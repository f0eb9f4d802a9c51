"""What a piece of a network takes at the least: the roofline (Williams, Waterman and Patterson, 2009)."""

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from latency.study import Work
from latency.taps import UnusedWeights, convolution_flops

# Winograd's algorithm does a 3x3 convolution with a quarter of its multiplications, and a cache holds what the roofline
# takes from memory: only what is this many times quicker than its floor cannot be true.
BEYOND_BELIEF: Final = 4.0


@dataclass(frozen=True)
class Peak:
    """The most a device does in a millisecond, and in how many units of its (SMs, CUs); one where that is not known."""

    flops_per_ms: float
    bytes_per_ms: float
    compute_units: float = 1.0

    def floor_ms(self, work: Work) -> float:
        """max(operations / peak, bytes / bandwidth)."""
        return max(work.flops / self.flops_per_ms, work.traffic_bytes / self.bytes_per_ms)


def work_of(module: nn.Module, example: Tensor) -> tuple[Work, Tensor]:
    """The work of a module, and its output for `example` (B, ...)."""
    counter = FlopCounterMode(display=False, custom_mapping={torch.ops.aten.convolution: convolution_flops})
    with counter, UnusedWeights() as unused, torch.no_grad():
        result: Tensor = module(example)
    weights = {id(tensor): tensor.nbytes for tensor in [*module.parameters(), *module.buffers()]}
    needed = sum(weights.values()) - unused.total_bytes
    return Work(counter.get_total_flops(), needed + example.nbytes + result.nbytes), result


class Reference(nn.Module):
    """A matrix product of n x n matrices: as many operations as a device does in one go, and a gauge of its speed."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.product = nn.Linear(size, size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(n, n) -> (n, n)"""
        product: Tensor = self.product(x)
        return product


class Traffic(nn.Module):
    """Reads and writes every number once, and computes all but nothing."""

    def forward(self, x: Tensor) -> Tensor:
        """(n, n) -> (n, n)"""
        return x.relu()


def square(size: int) -> Tensor:
    """What both are fed: (size, size)."""
    return torch.rand(size, size, generator=torch.Generator().manual_seed(0))
