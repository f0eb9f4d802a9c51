"""What one entry of a mask stands for: a block of a weight, an output channel, or a weight among M neighbours."""

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
    """How the weights of a network are divided into groups, and what these are ranked among."""

    keeps_its_shape: ClassVar[bool] = True
    """Whether a network with a hard mask has the layers that it had before."""
    has_masks: ClassVar[bool] = True
    """Whether a method that learns masks gives every group one, beside the weights."""
    restarts_from_zero: ClassVar[bool] = True
    """Whether what was set to zero can learn again: a channel cannot, whose BatchNorm has a factor of zero too."""

    @property
    @abstractmethod
    def text(self) -> str:
        """As `parse` reads it."""

    @abstractmethod
    def parts(self, network: nn.Module) -> tuple[Part, ...]:
        """The parts of a network. Raises `SettingsError` when there is none."""

    @abstractmethod
    def selection(self, parts: Sequence[Part], sparsity: float | None) -> Selection:
        """What leaves the share `sparsity` of all groups out. Raises `SettingsError` for a share that cannot be had."""


@dataclass(frozen=True)
class Blocks(Granularity):
    """Blocks of `sides` along the dimensions of a weight: (out, in, height, width), of a linear (out, in). Sides that
    are not given are 1. Blocks are ranked over all layers together."""

    sides: tuple[int, ...]

    @property
    def text(self) -> str:
        return "x".join(map(str, self.sides))

    def parts(self, network: nn.Module) -> tuple[Part, ...]:
        found = []
        for path, layer in maskable(network).items():
            shape = tuple(layer.weight.shape)
            found.append(BlockPart(f"{path}.weight", shape, (*self.sides, 1, 1, 1, 1)[: len(shape)]))
        return _some(found, "no layer of it can be masked: only its first convolution and its classifier have weights")

    def selection(self, parts: Sequence[Part], sparsity: float | None) -> Selection:
        return _of_all(parts, sparsity)


@dataclass(frozen=True)
class Channels(Granularity):
    """Output channels that nothing but the next layers see, ranked over all layers together."""

    keeps_its_shape = False
    restarts_from_zero = False

    @property
    def text(self) -> str:
        return "channels"

    def parts(self, network: nn.Module) -> tuple[Part, ...]:
        return _some(
            channel_parts(network),
            "none of its channels can be removed: all stand in residual streams, or pass a norm over channels",
        )

    def selection(self, parts: Sequence[Part], sparsity: float | None) -> Selection:
        return _of_all(parts, sparsity)


@dataclass(frozen=True)
class NOfM(Granularity):
    """`keep` of every `size` weights that lie beside each other along the input dimension. Layers whose inputs are no
    multiple of `size` stay dense."""

    keep: int
    size: int

    has_masks = False

    @property
    def text(self) -> str:
        return f"{self.keep}:{self.size}"

    def parts(self, network: nn.Module) -> tuple[Part, ...]:
        layers = maskable(network).items()
        found = [
            GroupedPart(f"{path}.weight", tuple(layer.weight.shape), self.size)
            for path, layer in layers
            if layer.weight.shape[1] % self.size == 0
        ]
        return _some(found, f"none of its layers has a multiple of {self.size} inputs")

    def selection(self, parts: Sequence[Part], sparsity: float | None) -> Selection:
        implied = 1 - self.keep / self.size
        if sparsity is not None and abs(sparsity - implied) > 1e-9:
            raise SettingsError(f"{self.text} is a sparsity of {implied:g}, not {sparsity:g}: leave --sparsity away")
        return Within(self.keep, self.size)


def parse(text: str) -> Granularity:
    """'16x8x1x1', 'channels' or '2:4'. Raises `SettingsError` for anything else."""
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
