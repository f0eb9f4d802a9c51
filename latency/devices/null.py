"""A device of exact arithmetic, for tests: a run costs a fixed sum for every parameter, and takes no time."""

from collections.abc import Sequence
from typing import Final

from torch import Tensor, nn

from latency.device import Device, device
from latency.rounds import Pace, Program, Reading

MS_PER_PARAMETER: Final = 2.0**-20  # a power of two, so that sums are exact


@device
class Null(Device[float]):
    """A module costs its number of parameters, on every machine and in every network alike."""

    name = "null"
    has_peak = False

    @property
    def runtime(self) -> str:
        return "arithmetic 1"

    @property
    def hardware(self) -> str:
        return "none"

    def compile(self, module: nn.Module, example: Tensor) -> float:
        return sum(parameter.numel() for parameter in module.parameters()) * MS_PER_PARAMETER

    def assemble(self, fragments: Sequence[float], images: Tensor) -> Program:
        return _Cost(sum(fragments))


class _Cost(Program):
    def __init__(self, cost_ms: float) -> None:
        self._cost_ms = cost_ms

    def run(self) -> None:
        """There is nothing to run."""

    def visit(self, pace: Pace) -> list[Reading]:
        return [Reading(wall_ms=self._cost_ms, cpu_ms=self._cost_ms)] * pace.readings
