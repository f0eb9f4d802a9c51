"""What a mask covers: the groups of numbers of one layer that stay or go together, and how a mask is spread to them."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor


class Part(ABC):
    """One layer's groups, numbered from 0 to `entries` - 1; a mask over them is of shape (entries,)."""

    weight: str
    """The parameter whose numbers the groups are of, by its name in the network."""

    @property
    def key(self) -> str:
        """The name under which masks are kept; modules take no dots in one."""
        return self.weight.removesuffix(".weight").replace(".", "/")

    @property
    @abstractmethod
    def entries(self) -> int:
        """How many groups there are."""

    @abstractmethod
    def mean(self, tensor: Tensor) -> Tensor:
        """The mean over each group, (entries,), of a tensor of the weight's shape."""

    @abstractmethod
    def spread(self, mask: Tensor) -> Mapping[str, Tensor]:
        """Parameter -> what it is multiplied by, of a shape that broadcasts to it, for a mask (entries,)."""

    def magnitudes(self, tensor: Tensor) -> Tensor:
        """(entries,): the L2 norm of each group over the square root of its size, of a tensor of the weight's shape."""
        return self.mean(tensor.square()).sqrt()


@dataclass(frozen=True)
class BlockPart(Part):
    """Blocks of `sides` in a weight of `shape`, row by row; at the far edges a block may be smaller."""

    weight: str
    shape: tuple[int, ...]
    sides: tuple[int, ...]

    @property
    def counts(self) -> tuple[int, ...]:
        """How many blocks there are along each dimension."""
        return tuple(math.ceil(size / side) for size, side in zip(self.shape, self.sides, strict=True))

    @property
    def entries(self) -> int:
        return math.prod(self.counts)

    def mean(self, tensor: Tensor) -> Tensor:
        return self._sums(tensor) / self._sums(torch.ones_like(tensor))

    def spread(self, mask: Tensor) -> dict[str, Tensor]:
        wide = mask.reshape(self.counts)
        for dimension, side in enumerate(self.sides):
            if side > 1:
                wide = wide.repeat_interleave(side, dim=dimension)
        return {self.weight: wide[tuple(slice(size) for size in self.shape)]}

    def _sums(self, tensor: Tensor) -> Tensor:
        padding: list[int] = []
        for size, side, count in zip(self.shape, self.sides, self.counts, strict=True):
            padding = [0, count * side - size, *padding]  # torch pads from the last dimension on
        padded = torch.nn.functional.pad(tensor, padding)
        halves = [number for pair in zip(self.counts, self.sides, strict=True) for number in pair]
        return padded.reshape(halves).sum(dim=tuple(range(1, 2 * len(self.shape), 2))).flatten()


@dataclass(frozen=True)
class GroupedPart(Part):
    """Single weights, ordered so that each `size` in a row lie beside each other along the input dimension."""

    weight: str
    shape: tuple[int, ...]
    size: int

    @property
    def entries(self) -> int:
        return math.prod(self.shape)

    def mean(self, tensor: Tensor) -> Tensor:
        return tensor.movedim(1, -1).flatten()

    def spread(self, mask: Tensor) -> dict[str, Tensor]:
        outputs, inputs, *kernel = self.shape
        return {self.weight: mask.reshape(outputs, *kernel, inputs).movedim(-1, 1)}


@dataclass(frozen=True)
class ChannelPart(Part):
    """Channels that nothing but the next layers see.

    `targets` are what makes the channel, all along their first dimension, with how many dimensions each has: weights
    and biases of the layers that give it out, and the factor and offset of a BatchNorm behind them. `layers` are the
    modules that lose it, or an input, when it is removed.
    """

    weight: str
    channels: int
    targets: tuple[tuple[str, int], ...]
    layers: tuple[str, ...]

    @property
    def entries(self) -> int:
        return self.channels

    def mean(self, tensor: Tensor) -> Tensor:
        return tensor.flatten(1).mean(1)

    def spread(self, mask: Tensor) -> dict[str, Tensor]:
        return {name: mask.reshape(-1, *[1] * (dimensions - 1)) for name, dimensions in self.targets}
