"""The steps that a block computes: each runs with its gate at lambda, and knows the affine map it becomes at lambda 0.

Steps hold the block's own modules and own nothing themselves, so that a block has one set of weights however many
choices it offers.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from pruner.algebra import affine
from pruner.algebra.affine import Affine
from pruner.algebra.oddities import why_not_plain


def gated(lam: float, full: Tensor, cut: Tensor) -> Tensor:
    """Returns lam * full + (1 - lam) * cut, and exactly `full` or `cut` at the two ends (UPDP's progressive gate).

    Example:
        >>> gated(0.25, torch.tensor(4.0), torch.tensor(8.0))
        tensor(7.)
    """
    if lam == 1:
        return full
    if lam == 0:
        return cut
    return lam * full + (1 - lam) * cut


class Step(ABC):
    """One step of a branch, for images (B, C, H, W) or for tokens (B, ..., C)."""

    @abstractmethod
    def run(self, x: Tensor, lam: float) -> Tensor:
        """Runs the step: at `lam` 1 it computes what the baseline does, at `lam` 0 what `affine` gives."""

    @property
    @abstractmethod
    def text(self) -> str:
        """The settings and shapes that its cost depends on; empty for a step that has no cost of its own."""

    @property
    def why_not(self) -> str | None:
        """Why the step cannot become affine; None when it can."""
        return None

    def affine(self) -> Affine | None:
        """Returns the map of the step at lambda 0 in evaluation; None for a step that changes nothing then."""
        return None

    @property
    def is_gone(self) -> bool:
        """Whether the step does nothing at lambda 0, not even in training."""
        return False

    def modules(self) -> list[nn.Module]:
        """Returns the modules of the baseline that the step runs."""
        return []

    def parameters(self) -> list[nn.Parameter]:
        """Returns the parameters of those modules."""
        return [parameter for module in self.modules() for parameter in module.parameters()]


@dataclass(frozen=True)
class Convolution(Step):
    """A convolution that pads with zeros."""

    conv: nn.Conv2d

    def run(self, x: Tensor, lam: float) -> Tensor:
        """Runs the convolution with its own padding, whatever `lam` is."""
        y: Tensor = self.conv(x)
        return y

    def run_unpadded(self, x: Tensor) -> Tensor:
        """Runs the convolution on images that are padded already."""
        conv = self.conv
        return functional.conv2d(x, conv.weight, conv.bias, conv.stride, 0, conv.dilation, conv.groups)

    def affine(self) -> Affine:
        return affine.of_layer(self.conv)

    def modules(self) -> list[nn.Module]:
        return [self.conv]

    @property
    def why_not(self) -> str | None:
        """Why the convolution does not fold: an odd layer, a subclass, or padding that is not a number of zeros."""
        # A subclass may do something to its weights, or pad by the size of the image.
        why = why_not_plain(self.conv, "convolution", nn.Conv2d)
        if why is not None:
            return why
        if isinstance(self.conv.padding, str) or self.conv.padding_mode != "zeros":
            return "its convolution does not pad with a fixed number of zeros"
        return None

    @property
    def text(self) -> str:
        conv = self.conv
        stride, dilation = ("x".join(map(str, dict.fromkeys(pair))) for pair in (conv.stride, conv.dilation))
        shape = ("" if stride == "1" else f"/{stride}") + ("" if dilation == "1" else f" dilation={dilation}")
        groups = f" groups={conv.groups}" if conv.groups > 1 else ""
        kind = "conv" if type(conv) is nn.Conv2d else type(conv).__name__
        size = "x".join(str(side) for side in conv.kernel_size)
        return f"{kind}{size}{shape}{groups} {conv.in_channels}>{conv.out_channels}"


@dataclass(frozen=True)
class Linear(Step):
    """A linear layer over the last dimension of tokens; with `over_channels`, over the channels of images."""

    linear: nn.Linear
    over_channels: bool = False

    def run(self, x: Tensor, lam: float) -> Tensor:
        """Runs the linear layer, whatever `lam` is."""
        return _over_channels(self.linear, x) if self.over_channels else self.linear(x)

    def affine(self) -> Affine:
        return affine.of_layer(self.linear)

    def modules(self) -> list[nn.Module]:
        return [self.linear]

    @property
    def why_not(self) -> str | None:
        """Why the layer does not fold: something odd about it, or a subclass."""
        return why_not_plain(self.linear, "linear layer", nn.Linear)

    @property
    def text(self) -> str:
        return f"linear {self.linear.in_features}>{self.linear.out_features}"


@dataclass(frozen=True)
class LinearPair(Step):
    """Two linears in a row that learn as two and run as one, where that takes fewer multiplications."""

    first: Linear
    second: Linear

    def run(self, x: Tensor, lam: float) -> Tensor:
        """Runs the product of the two matrices, or one after the other where that takes fewer multiplications."""
        first, second = self.first.linear, self.second.linear
        rows, wide, out = x.numel() // first.in_features, first.out_features, second.out_features
        as_two = rows * wide * (first.in_features + out)
        as_one = first.in_features * out * (wide + rows)
        if as_one >= as_two:
            return self.second.run(self.first.run(x, lam), lam)
        weight = second.weight @ first.weight
        bias = second.bias if first.bias is None else functional.linear(first.bias, second.weight, second.bias)
        if not self.first.over_channels:
            return functional.linear(x, weight, bias)
        return torch.movedim(functional.linear(torch.movedim(x, 1, -1), weight, bias), -1, 1)

    def modules(self) -> list[nn.Module]:
        return [self.first.linear, self.second.linear]

    @property
    def text(self) -> str:
        return f"{self.first.text}, {self.second.text}"


@dataclass(frozen=True)
class BatchNorm(Step):
    """A BatchNorm of the baseline, for images; of a timm BatchNorm with an activation, the norm alone.

    `own`, if given, runs instead: the same norm with statistics of its own, for shared weights (`own_statistics.py`).
    """

    norm: nn.BatchNorm2d
    own: Any = None

    def run(self, x: Tensor, lam: float) -> Tensor:
        """Normalises images (B, C, H, W), whatever `lam` is."""
        y: Tensor = nn.BatchNorm2d.forward(self.norm, x) if self.own is None else self.own(x)
        return y

    def affine(self) -> Affine:
        return affine.of_batch_norm(self.norm if self.own is None else self.own.as_batch_norm())

    def modules(self) -> list[nn.Module]:
        return [self.norm]

    @property
    def why_not(self) -> str | None:
        """Why the BatchNorm does not fold: it keeps no running statistics."""
        return None if self.norm.running_mean is not None else "its BatchNorm keeps no running statistics"

    @property
    def text(self) -> str:
        return ""


class Switch(ABC):
    """A step with a new BatchNorm, one that the baseline does not have, which comes in as the gate closes."""

    batch_norm: nn.BatchNorm1d | nn.BatchNorm2d

    def batch_normed(self, x: Tensor) -> Tensor:
        """Runs the new BatchNorm on images (B, C, H, W), or on the tokens (B, ..., C) of all images together."""
        if isinstance(self.batch_norm, nn.BatchNorm2d):
            images: Tensor = self.batch_norm(x)
            return images
        tokens: Tensor = self.batch_norm(x.flatten(0, -2))
        return tokens.view_as(x)

    @abstractmethod
    def stands_for(self, x: Tensor) -> Tensor:
        """Returns what the baseline makes of the new BatchNorm's input: tokens (N, C) or images (B, C, H, W)."""


@dataclass(frozen=True)
class SwitchedNorm(Step, Switch):
    """lam * norm(x) + (1 - lam) * BatchNorm(x): a norm by the statistics of each input gives way to fixed statistics.

    A BatchNorm1d takes tokens, a BatchNorm2d images; `over_channels` runs a norm of the last dimension on images.
    """

    norm: nn.Module
    batch_norm: nn.BatchNorm1d | nn.BatchNorm2d
    over_channels: bool = False

    def run(self, x: Tensor, lam: float) -> Tensor:
        """Runs the old norm at `lam` 1, the BatchNorm at 0, and their mean by `lam` between."""
        # In training the BatchNorm sees every input from the first step on, so that its statistics are current when
        # the gate reaches 0; in evaluation it is run only if it counts.
        if lam == 1 and not self.batch_norm.training:
            return self.stands_for(x)
        switched = self.batch_normed(x)
        return switched if lam == 0 else gated(lam, self.stands_for(x), switched)

    def stands_for(self, x: Tensor) -> Tensor:
        """Returns the output of the old norm."""
        return _over_channels(self.norm, x) if self.over_channels else self.norm(x)

    def affine(self) -> Affine:
        return affine.of_batch_norm(self.batch_norm)

    def modules(self) -> list[nn.Module]:
        return [self.norm]

    @property
    def text(self) -> str:
        return type(self.norm).__name__


@dataclass(frozen=True)
class Activation(Step):
    """An activation that goes: lam * act(x) + (1 - lam) * x."""

    act: nn.Module

    def run(self, x: Tensor, lam: float) -> Tensor:
        """Runs the activation by the share `lam`; at 0 it returns `x` itself."""
        return x if lam == 0 else gated(lam, self.act(x), x)

    @property
    def is_gone(self) -> bool:
        return True

    def modules(self) -> list[nn.Module]:
        return [self.act]

    @property
    def text(self) -> str:
        return type(self.act).__name__


@dataclass(frozen=True)
class EndActivation(Step, Switch):
    """lam * x + (1 - lam) * act(BatchNorm(x)), at the end of a block that has no activation there (UPDP).

    At lambda 0 the BatchNorm folds into the layer before it, and the activation stays.
    """

    batch_norm: nn.BatchNorm1d | nn.BatchNorm2d
    act: nn.Module

    def run(self, x: Tensor, lam: float) -> Tensor:
        """Returns `x` itself at `lam` 1, the activation of the BatchNorm at 0, and their mean by `lam` between."""
        if lam == 1 and not self.batch_norm.training:
            return x
        return gated(lam, x, self.act(self.batch_normed(x)))

    def stands_for(self, x: Tensor) -> Tensor:
        """Returns `x` itself: the baseline has nothing here."""
        return x

    def affine(self) -> Affine:
        return affine.of_batch_norm(self.batch_norm)

    def modules(self) -> list[nn.Module]:
        return [self.act]

    @property
    def text(self) -> str:
        return type(self.act).__name__


@dataclass(frozen=True)
class Scale(Step):
    """The layer scale, a factor for every channel: `owner.gamma`, of shape (C,)."""

    owner: Any
    on_images: bool = False

    def run(self, x: Tensor, lam: float) -> Tensor:
        """Multiplies every channel by its factor, whatever `lam` is."""
        gamma: Tensor = self.owner.gamma
        return x * (gamma.view(1, -1, 1, 1) if self.on_images else gamma)

    def affine(self) -> Affine:
        return affine.of_scale(self.owner.gamma)

    @property
    def text(self) -> str:
        return ""


@dataclass(frozen=True)
class Noise(Step):
    """A module that does something in training alone: dropout, stochastic depth."""

    module: nn.Module

    def run(self, x: Tensor, lam: float) -> Tensor:
        """Runs the module, whatever `lam` is."""
        y: Tensor = self.module(x)
        return y

    @property
    def is_gone(self) -> bool:
        return isinstance(self.module, nn.Identity) or (isinstance(self.module, nn.Dropout) and self.module.p == 0)

    def modules(self) -> list[nn.Module]:
        return [self.module]

    @property
    def text(self) -> str:
        return ""


@dataclass(frozen=True)
class Opaque(Step):
    """A module that no affine map can stand for, such as an attention or a squeeze-and-excitation; `why` says so."""

    module: nn.Module
    why: str
    label: str = ""
    over_channels: bool = False

    def run(self, x: Tensor, lam: float) -> Tensor:
        """Runs the module, whatever `lam` is."""
        y: Tensor = _over_channels(self.module, x) if self.over_channels else self.module(x)
        return y

    @property
    def why_not(self) -> str:
        return self.why

    def modules(self) -> list[nn.Module]:
        return [self.module]

    @property
    def text(self) -> str:
        parameters = sum(parameter.numel() for parameter in self.parameters())
        return (self.label or type(self.module).__name__) + (f" parameters={parameters}" if parameters else "")


@dataclass(frozen=True)
class Fading(Step):
    """Steps that go together: lam * steps(x) + (1 - lam) * x."""

    steps: tuple[Step, ...]

    def run(self, x: Tensor, lam: float) -> Tensor:
        """Runs the steps by the share `lam`; at 0 it returns `x` itself."""
        return x if lam == 0 else gated(lam, run_in_turn(self.steps, x, 1.0), x)

    @property
    def text(self) -> str:
        return ""


def run_in_turn(steps: Sequence[Step], x: Tensor, lam: float) -> Tensor:
    """Runs the steps with their gates at `lam`, each with its own padding; at `lam` 1 this is the baseline."""
    return reduce(lambda flowing, step: step.run(flowing, lam), steps, x)


def _over_channels(module: nn.Module, x: Tensor) -> Tensor:
    return torch.movedim(module(torch.movedim(x, 1, -1)), -1, 1)
