"""A device of exact arithmetic for tests: a run costs a fixed time per parameter, and none passes."""

from collections.abc import Sequence
from typing import Final

from torch import Tensor, nn

from latency.device import Device, device
from latency.rounds import Pace, Program, Reading
from pruner.algebra.flow import Wire

MS_PER_PARAMETER: Final = 2.0**-20  # a power of two, so that sums are exact
"""What a parameter costs, in milliseconds."""


@device
class Null(Device[float]):
    """Exact arithmetic for tests: a module costs a fixed time per parameter, on every machine and in every network.

    Example:
        >>> import torch
        >>> cost_ms = Null().compile(nn.Linear(32, 32, bias=False), torch.zeros(1, 32))
        >>> cost_ms / MS_PER_PARAMETER
        1024.0
    """

    name = "null"
    has_peak = False

    @property
    def runtime(self) -> str:
        """Name and version of the arithmetic."""
        return "arithmetic 1"

    @property
    def hardware(self) -> str:
        """A name that is the same on every machine."""
        return "none"

    def compile(self, module: nn.Module, *inputs: Tensor) -> float:
        """Returns the cost of the module in milliseconds."""
        return sum(parameter.numel() for parameter in module.parameters()) * MS_PER_PARAMETER

    def assemble(self, fragments: Sequence[float], wires: Sequence[Wire], inputs: Sequence[Tensor]) -> Program:
        """Builds a program whose every run reads the sum of the costs."""
        return _Cost(sum(fragments))


class _Cost(Program):
    def __init__(self, cost_ms: float) -> None:
        self._cost_ms = cost_ms

    def run(self) -> None:
        """Does nothing."""

    def visit(self, pace: Pace) -> list[Reading]:
        """Returns readings of the fixed cost."""
        return [Reading(wall_ms=self._cost_ms, cpu_ms=self._cost_ms)] * pace.readings
