"""The pieces of a model on a device, alone and assembled into whole networks."""

from collections.abc import Collection, Sequence
from typing import Any

from torch import nn

from latency.device import Device
from latency.pieces import Pieces, Route
from latency.roofline import Reference, Traffic, square
from latency.rounds import Program
from latency.study import REFERENCE, TRAFFIC, Network
from pruner.choices.plan import Plan


class Workbench(Pieces):
    """Compiles the pieces of a model for one device and makes programs of them."""

    def __init__(
        self,
        model: nn.Module,
        device: Device[Any],
        batch_size: int,
        extra_choices: Collection[str] = (),
        input_size: Sequence[int] | None = None,
    ) -> None:
        """Opens a copy of `model`; its pieces are compiled when they are first needed.

        Args:
            model: The network. It is not changed.
            device: Where the pieces run.
            batch_size: Images per run.
            extra_choices: Choices that blocks offer on request only, and that are to be offered too.
            input_size: Size of one image as (C, H, W), as for `describe`.
        """
        super().__init__(model, device.compile, batch_size, extra_choices, input_size)
        self.device = device

    def network(self, route: Route | Network) -> Program:
        """Builds the program of the network that runs through the pieces of a route."""
        return self.device.assemble([self.fragment(key) for key in route.keys], route.wires, (self.images,))

    def program_of(self, plan: Plan) -> Program:
        """Builds the program of the plan's whole network."""
        return self.network(self.route(plan))

    def alone(self, key: str) -> Program:
        """Builds the program of one piece alone."""
        return self.device.assemble([self.fragment(key)], self.route_of_one(key).wires, self.inputs(key))

    def references(self) -> dict[str, Program]:
        """Builds the two programs that gauge the device: a matrix product and a pass through memory."""
        images = square(self.device.reference_size)
        return {REFERENCE: reference(self.device), TRAFFIC: self.device.load(Traffic(), images)}


def reference(device: Device[Any]) -> Program:
    """Builds the program of the matrix product that gauges a device's speed."""
    size = device.reference_size
    return device.load(Reference(size), square(size))
