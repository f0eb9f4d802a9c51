"""The granularity of a mask: what one entry covers, a block of a weight, a channel, or one of M weights in a row."""

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from pruner.errors import SettingsError
from pruner.masks.channels import channel_parts
from pruner.masks.layers import maskable
from pruner.masks.parts import BlockPart, GroupedPart, Part
from pruner.masks.selection import Selection, Within, globally


class Granularity(ABC):
    """How the weights of a network are divided into groups, and which groups are ranked together."""

    keeps_its_shape: ClassVar[bool] = True
    """Whether the layers of the network keep their shapes when the masks are final. Channels are removed instead."""
    has_masks: ClassVar[bool] = True
    """Whether a method that learns masks has one number to learn for every group, beside the weights."""
    restarts_from_zero: ClassVar[bool] = True
    """Whether weights that were set to zero can learn again. Those of a channel cannot: the factor of its BatchNorm is
    zero too."""

    @property
    @abstractmethod
    def text(self) -> str:
        """The granularity as `parse` reads it."""

    @abstractmethod
    def parts(self, network: nn.Module) -> tuple[Part, ...]:
        """Divides the weights of a network into parts. Raises `SettingsError` when none of them can be masked."""

    @abstractmethod
    def selection(self, parts: Sequence[Part], sparsity: float | None) -> Selection:
        """The selection that removes a share of all groups.

        Args:
            parts: The parts of the network.
            sparsity: The share of groups to remove, in (0, 1); None for the share that the granularity implies.

        Raises:
            SettingsError: when that share cannot be removed.
        """


@dataclass(frozen=True)
class Blocks(Granularity):
    """Blocks of a weight, ranked over all layers together.

    Attributes:
        sides: The sides of a block along (out, in, height, width), of a linear along (out, in). Missing sides are 1.
    """

    sides: tuple[int, ...]

    @property
    def text(self) -> str:
        """The sides, such as `16x8x1x1`."""
        return "x".join(map(str, self.sides))

    def parts(self, network: nn.Module) -> tuple[Part, ...]:
        """The blocks of every layer that may be masked. Raises `SettingsError` when there is no such layer."""
        found = []
        for path, layer in maskable(network).items():
            shape = tuple(layer.weight.shape)
            found.append(BlockPart(f"{path}.weight", shape, (*self.sides, 1, 1, 1, 1)[: len(shape)]))
        return _some(found, "no layer of it can be masked: only its first convolution and its classifier have weights")

    def selection(self, parts: Sequence[Part], sparsity: float | None) -> Selection:
        """The best blocks of all layers. Raises `SettingsError` without a sparsity, or when too few are left."""
        return _of_all(parts, sparsity)


@dataclass(frozen=True)
class Channels(Granularity):
    """Output channels that only the next layers read, ranked over all layers together."""

    keeps_its_shape = False
    restarts_from_zero = False

    @property
    def text(self) -> str:
        """The word `channels`."""
        return "channels"

    def parts(self, network: nn.Module) -> tuple[Part, ...]:
        """The channels that can be removed exactly. Raises `SettingsError` when there are none."""
        return _some(
            channel_parts(network),
            "none of its channels can be removed: all stand in residual streams, or pass a norm over channels",
        )

    def selection(self, parts: Sequence[Part], sparsity: float | None) -> Selection:
        """The best channels of all layers. Raises `SettingsError` without a sparsity, or when too few are left."""
        return _of_all(parts, sparsity)


@dataclass(frozen=True)
class NOfM(Granularity):
    """N:M sparsity: `keep` (N) of every `size` (M) weights in a row along the input dimension stay.

    Layers whose number of inputs is no multiple of `size` stay dense.
    """

    keep: int
    size: int

    has_masks = False

    @property
    def text(self) -> str:
        """The two numbers, such as `2:4`."""
        return f"{self.keep}:{self.size}"

    def parts(self, network: nn.Module) -> tuple[Part, ...]:
        """The weights of every layer that may be masked and divided so. Raises `SettingsError` when there is none."""
        layers = maskable(network).items()
        found = [
            GroupedPart(f"{path}.weight", tuple(layer.weight.shape), self.size)
            for path, layer in layers
            if layer.weight.shape[1] % self.size == 0
        ]
        return _some(found, f"none of its layers has a multiple of {self.size} inputs")

    def selection(self, parts: Sequence[Part], sparsity: float | None) -> Selection:
        """The best `keep` of every `size` weights. Raises `SettingsError` for any sparsity but 1 - keep / size."""
        implied = 1 - self.keep / self.size
        if sparsity is not None and abs(sparsity - implied) > 1e-9:
            raise SettingsError(f"{self.text} is a sparsity of {implied:g}, not {sparsity:g}: leave --sparsity away")
        return Within(self.keep, self.size)


def parse(text: str) -> Granularity:
    """The granularity that a text such as '16x8x1x1', 'channels' or '2:4' names.

    Raises:
        SettingsError: when the text names none.

    Example:
        >>> from pruner.masks.granularity import parse
        >>> parse("16x8x1x1"), parse("2:4")
        (Blocks(sides=(16, 8, 1, 1)), NOfM(keep=2, size=4))
    """
    if text == "channels":
        return Channels()
    if re.fullmatch(r"[1-9]\d*(x[1-9]\d*){0,3}", text):
        return Blocks(tuple(map(int, text.split("x"))))
    if re.fullmatch(r"[1-9]\d*:[1-9]\d*", text):
        keep, size = map(int, text.split(":"))
        if keep < size:
            return NOfM(keep, size)
    raise SettingsError(
        f"there is no granularity {text!r}: give the sides of a block (16x8x1x1: out, in, height, width), channels, or "
        "N:M with N below M (2:4)"
    )


def _some(parts: Sequence[Part], reason: str) -> tuple[Part, ...]:
    if not parts:
        raise SettingsError(f"this network cannot be pruned so: {reason}")
    return tuple(parts)


def _of_all(parts: Sequence[Part], sparsity: float | None) -> Selection:
    if sparsity is None:
        raise SettingsError("how much is to go? give a sparsity, such as 0.5")
    return globally({part.key: part.entries for part in parts}, sparsity)
