"""Networks run part by part: which tensors a part takes, which it gives, and which nothing behind it needs."""

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from torch import Tensor, nn

START: Final = 0
"""The number of the images that enter a network."""


@dataclass(frozen=True, eq=False)
class Flow:
    """The tensors that flow between two parts of a network.

    Most networks have one. Where a longer skip runs beside a block, its tensor flows past that block.

    Attributes:
        tensors: Number -> tensor. A tensor has the same number wherever it flows, and no other has it.
        images: How many images they are computed of.
    """

    tensors: Mapping[int, Tensor]
    images: int

    @classmethod
    def of(cls, images: Tensor) -> "Flow":
        """Returns what enters a network: images (B, C, H, W)."""
        return cls({START: images}, len(images))

    @property
    def only(self) -> Tensor:
        """The one tensor, as behind the last part of a network."""
        (tensor,) = self.tensors.values()
        return tensor

    @property
    def nbytes(self) -> int:
        """The bytes of all tensors."""
        return sum(tensor.nbytes for tensor in self.tensors.values())


@dataclass(frozen=True)
class Wire:
    """How a part of a network is connected, by the numbers of the tensors.

    Attributes:
        takes: The tensors that the part is called with, in order.
        gives: The tensors that it returns, in order.
        done: Those that flowed before it and that nothing behind it takes.

    Example:
        >>> import torch
        >>> wire = Wire(takes=(0,), gives=(1,), done=(0,))
        >>> flow = Flow.of(torch.tensor([[-1.0, 2.0]]))
        >>> wire.behind(flow, wire.taken(flow)[0].relu()).tensors
        {1: tensor([[0., 2.]])}
    """

    takes: tuple[int, ...]
    gives: tuple[int, ...]
    done: tuple[int, ...] = ()

    def taken(self, flow: Flow) -> tuple[Tensor, ...]:
        """Returns what the part is called with, from what flows before it."""
        return tuple(flow.tensors[number] for number in self.takes)

    def behind(self, flow: Flow, given: Any) -> Flow:
        """Returns what flows behind the part, from what flows before it and what it gave: a tensor, or a tuple."""
        left = {number: tensor for number, tensor in flow.tensors.items() if number not in self.done}
        given = given if isinstance(given, tuple) else (given,)
        return Flow(left | dict(zip(self.gives, given, strict=True)), flow.images)

    def follows(self, other: "Wire") -> bool:
        """Whether the part takes what another gives, and that nothing else takes it."""
        return self.takes == other.gives and set(self.takes) <= set(self.done)


@dataclass(frozen=True, eq=False)
class Part:
    """A part of a network: a block, or what is computed before, between or after blocks.

    Attributes:
        name: The block's name; of another part, what it is called.
        module: What it computes; for a block, its site.
        wire: How it is connected.
    """

    name: str
    module: nn.Module
    wire: Wire

    def run(self, flow: Flow) -> Flow:
        """Returns what flows behind the part."""
        return self.wire.behind(flow, self.module(*self.wire.taken(flow)))


def connected(wires: Sequence[Wire]) -> list[Wire]:
    """Returns the wires with `done` noted: each tensor is done at the last part that takes it.

    Example:
        >>> connected([Wire((0,), (1, 2)), Wire((1,), (3,)), Wire((3, 2), (4,))])[1]
        Wire(takes=(1,), gives=(3,), done=(1,))
    """
    found: list[Wire] = []
    needed: set[int] = set()
    for wire in reversed(wires):
        found.insert(0, dataclasses.replace(wire, done=tuple(sorted(set(wire.takes) - needed))))
        needed |= set(wire.takes)
    return found


def row(count: int) -> list[Wire]:
    """Returns the wires of so many parts, each of which takes what the one before gives."""
    return connected([Wire((number,), (number + 1,)) for number in range(START, START + count)])


def in_turn(modules: Mapping[str, nn.Module]) -> list[Part]:
    """Returns modules as parts, each of which takes what the one before gives."""
    wires = row(len(modules))
    return [Part(name, module, wire) for (name, module), wire in zip(modules.items(), wires, strict=True)]


def bridged(wires: Sequence[Wire], gone: Collection[int]) -> list[Wire]:
    """Returns the wires of the parts that are left when others go, which then hand on what they take.

    Args:
        wires: The wires of all parts, in the order in which they run.
        gone: The places in this order of the parts that go. Each takes one tensor and gives one.

    Example:
        >>> bridged([Wire((0,), (1,)), Wire((1,), (2,)), Wire((2,), (3,))], gone=[1])
        [Wire(takes=(0,), gives=(1,), done=(0,)), Wire(takes=(1,), gives=(3,), done=(1,))]
    """
    same: dict[int, int] = {}
    left: list[Wire] = []
    for place, wire in enumerate(wires):
        takes = tuple(same.get(number, number) for number in wire.takes)
        if place in gone:
            same[wire.gives[0]] = takes[0]
        else:
            left.append(Wire(takes, wire.gives))
    return connected(left)
