"""What a mask covers: the groups of weights of one layer that stay or go together."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor


class Part(ABC):
    """The groups of one layer, numbered from 0 to `entries` - 1. A mask over them has the shape (entries,)."""

    weight: str
    """The name in the network of the parameter that is divided into groups."""

    @property
    def key(self) -> str:
        """The name under which masks are kept. It has no dots, because the name of a buffer cannot."""
        return self.weight.removesuffix(".weight").replace(".", "/")

    @property
    @abstractmethod
    def entries(self) -> int:
        """How many groups there are."""

    @abstractmethod
    def mean(self, tensor: Tensor) -> Tensor:
        """The mean of a tensor of the weight's shape over each group, (entries,)."""

    @abstractmethod
    def spread(self, mask: Tensor) -> Mapping[str, Tensor]:
        """Spreads a mask over the parameters that it covers.

        Args:
            mask: (entries,).

        Returns:
            The name of a parameter -> what it is multiplied by, of a shape that broadcasts to it.
        """

    def magnitudes(self, tensor: Tensor) -> Tensor:
        """The root mean square of a tensor of the weight's shape over each group, (entries,)."""
        return self.mean(tensor.square()).sqrt()


@dataclass(frozen=True)
class BlockPart(Part):
    """The blocks of one weight, numbered row by row; at the far edges a block may be smaller.

    Attributes:
        weight: The name of the weight in the network.
        shape: The shape of the weight.
        sides: The sides of a block, one for each dimension of the weight.

    Example:
        >>> import torch
        >>> from pruner.masks.parts import BlockPart
        >>> part = BlockPart("fc.weight", shape=(2, 4), sides=(2, 2))
        >>> part.spread(torch.tensor([1.0, 0.0]))["fc.weight"].tolist()
        [[1.0, 1.0, 0.0, 0.0], [1.0, 1.0, 0.0, 0.0]]
    """

    weight: str
    shape: tuple[int, ...]
    sides: tuple[int, ...]

    @property
    def counts(self) -> tuple[int, ...]:
        """How many blocks there are along each dimension."""
        return tuple(math.ceil(size / side) for size, side in zip(self.shape, self.sides, strict=True))

    @property
    def entries(self) -> int:
        """How many blocks there are."""
        return math.prod(self.counts)

    def mean(self, tensor: Tensor) -> Tensor:
        """The mean over each block, (entries,)."""
        return self._sums(tensor) / self._sums(torch.ones_like(tensor))

    def spread(self, mask: Tensor) -> dict[str, Tensor]:
        """The mask in the shape of the weight, each entry repeated over its block."""
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
    """The single weights of a layer, in an order in which every `size` in a row are neighbours along the input
    dimension.

    Attributes:
        weight: The name of the weight in the network.
        shape: The shape of the weight.
        size: How many neighbours are ranked together.
    """

    weight: str
    shape: tuple[int, ...]
    size: int

    @property
    def entries(self) -> int:
        """How many weights there are."""
        return math.prod(self.shape)

    def mean(self, tensor: Tensor) -> Tensor:
        """The tensor's numbers in the order of the groups, (entries,), for a group is a single weight."""
        return tensor.movedim(1, -1).flatten()

    def spread(self, mask: Tensor) -> dict[str, Tensor]:
        """The mask in the shape of the weight."""
        outputs, inputs, *kernel = self.shape
        return {self.weight: mask.reshape(outputs, *kernel, inputs).movedim(-1, 1)}


@dataclass(frozen=True)
class ChannelPart(Part):
    """Output channels of a layer that only the next layers read.

    Attributes:
        weight: The name of the weight that makes the channels.
        channels: How many channels there are.
        targets: (name, dimensions) of every parameter that is masked, along its first dimension: weights and biases of
            the layers that give the channels out, and factors and offsets of the BatchNorms behind them.
        layers: The names of the modules that lose an output or an input when a channel is removed.
    """

    weight: str
    channels: int
    targets: tuple[tuple[str, int], ...]
    layers: tuple[str, ...]

    @property
    def entries(self) -> int:
        """How many channels there are."""
        return self.channels

    def mean(self, tensor: Tensor) -> Tensor:
        """The mean over each channel, (entries,)."""
        return tensor.flatten(1).mean(1)

    def spread(self, mask: Tensor) -> dict[str, Tensor]:
        """The mask along the first dimension of every parameter in `targets`."""
        return {name: mask.reshape(-1, *[1] * (dimensions - 1)) for name, dimensions in self.targets}
