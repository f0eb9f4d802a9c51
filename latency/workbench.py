"""The pieces of a model on a device: alone, and assembled to whole networks."""

from collections.abc import Collection, Sequence
from typing import Any

from torch import nn

from latency.device import Device
from latency.pieces import Pieces
from latency.roofline import Reference, Traffic, square
from latency.rounds import Program
from latency.study import REFERENCE, TRAFFIC
from pruner.choices.plan import Plan


class Workbench(Pieces):
    """Makes programs of pieces that were compiled for one device."""

    def __init__(
        self,
        model: nn.Module,
        device: Device[Any],
        batch_size: int,
        extra_choices: Collection[str] = (),
        input_size: Sequence[int] | None = None,
    ) -> None:
        super().__init__(model, device.compile, batch_size, extra_choices, input_size)
        self.device = device

    def network(self, keys: Sequence[str]) -> Program:
        """The network that runs through pieces of these kinds, as a program."""
        return self.device.assemble([self.fragment(key) for key in keys], self.images)

    def program_of(self, plan: Plan) -> Program:
        """The plan's whole network as a program."""
        return self.network(self.network_keys(plan))

    def alone(self, key: str) -> Program:
        """One piece as a program of its own."""
        return self.device.assemble([self.fragment(key)], self.example(key))

    def references(self) -> dict[str, Program]:
        """What gauges the device: see `Reference` and `Traffic`."""
        images = square(self.device.reference_size)
        return {REFERENCE: reference(self.device), TRAFFIC: self.device.load(Traffic(), images)}


def reference(device: Device[Any]) -> Program:
    """The matrix product that gauges a device's speed."""
    size = device.reference_size
    return device.load(Reference(size), square(size))
