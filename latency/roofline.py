"""The roofline: the least time that a piece of a network can take (Williams, Waterman and Patterson, 2009)."""

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
    """The peak rates of a device.

    Attributes:
        flops_per_ms: Floating-point operations per millisecond.
        bytes_per_ms: Bytes read from or written to memory per millisecond.
        compute_units: The number of its SMs or CUs; 1 where that is not known.
    """

    flops_per_ms: float
    bytes_per_ms: float
    compute_units: float = 1.0

    def floor_ms(self, work: Work) -> float:
        """Returns max(operations / peak, bytes / bandwidth), in milliseconds."""
        return max(work.flops / self.flops_per_ms, work.traffic_bytes / self.bytes_per_ms)


def work_of(module: nn.Module, *inputs: Tensor) -> tuple[Work, tuple[Tensor, ...]]:
    """Runs a module once and counts its work.

    Args:
        module: The module, in fp32.
        inputs: (B, ...), its inputs.

    Returns:
        The work, and the module's outputs.

    Example:
        >>> work, (output,) = work_of(nn.Linear(8, 4, bias=False), torch.zeros(1, 8))
        >>> work, tuple(output.shape)
        (Work(flops=64, traffic_bytes=176), (1, 4))
    """
    counter = FlopCounterMode(display=False, custom_mapping={torch.ops.aten.convolution: convolution_flops})
    with counter, UnusedWeights() as unused, torch.no_grad():
        given = module(*inputs)
    outputs: tuple[Tensor, ...] = given if isinstance(given, tuple) else (given,)
    weights = {id(tensor): tensor.nbytes for tensor in [*module.parameters(), *module.buffers()]}
    needed = sum(weights.values()) - unused.total_bytes
    carried = sum(tensor.nbytes for tensor in (*inputs, *outputs))
    return Work(counter.get_total_flops(), needed + carried), outputs


class Reference(nn.Module):
    """A product of n x n matrices, which gauges the speed of a device."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.product = nn.Linear(size, size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(n, n) -> (n, n)"""
        product: Tensor = self.product(x)
        return product


class Traffic(nn.Module):
    """Reads and writes every number once and computes next to nothing, which gauges the memory of a device."""

    def forward(self, x: Tensor) -> Tensor:
        """(n, n) -> (n, n)"""
        return x.relu()


def square(size: int) -> Tensor:
    """Returns the (size, size) input of `Reference` and `Traffic`, the same each time."""
    return torch.rand(size, size, generator=torch.Generator().manual_seed(0))
