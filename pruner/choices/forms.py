"""Forms: what each choice makes of a block, over the block's own weights."""

import copy
import dataclasses
import itertools
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pruner.algebra.affine import Affine, identity
from pruner.algebra.branch import fold, reach, run_padded_once, text, why_not
from pruner.algebra.modules import in_a_row, residual
from pruner.algebra.own_statistics import separated
from pruner.algebra.steps import (
    Activation,
    BatchNorm,
    Convolution,
    EndActivation,
    Step,
    Switch,
    SwitchedNorm,
    gated,
    run_in_turn,
)


@dataclass(frozen=True)
class Residual:
    """What a block computes: end(shortcut(x) + branch(x)), on images (B, C, H, W) or tokens (B, ..., C).

    Attributes:
        branch: The steps of the branch, in order.
        shortcut: The steps beside the branch. An empty tuple is the identity, None is no shortcut at all.
        end: The activation behind the sum, if there is one.
        is_square: Whether a block without a shortcut gives the shape that it takes, so that it can be left out.
    """

    branch: tuple[Step, ...]
    shortcut: tuple[Step, ...] | None = ()
    end: Activation | None = None
    is_square: bool = False

    def before_end(self, x: Tensor) -> Tensor:
        """Runs the baseline's steps up to the activation that ends the block, if one does."""
        y = run_in_turn(self.branch, x, 1.0)
        return y if self.shortcut is None else y + run_in_turn(self.shortcut, x, 1.0)

    def run(self, x: Tensor) -> Tensor:
        """Runs the baseline's steps, the activation at the end included."""
        y = self.before_end(x)
        return y if self.end is None else self.end.run(y, 1.0)

    @property
    def text(self) -> str:
        """The settings and shapes that the block's cost depends on, besides the size of its input."""
        beside = ""
        if self.shortcut is not None:
            beside = f" + ({text(self.shortcut)})" if self.shortcut else " + x"
        return text(self.branch) + beside + (f", {self.end.text}" if self.end else "")


class Form(ABC):
    """What a choice makes of a block: a path with a gate, and the merged module that it ends in."""

    @abstractmethod
    def run(self, x: Tensor, lam: float) -> Tensor:
        """Runs the block itself at `lam` 1, what `merged` computes at 0, and a path from one to the other between."""

    def switches(self) -> list[Switch]:
        """Returns the steps that have a BatchNorm which the baseline does not have."""
        return []

    def with_own_statistics(self, own: nn.ModuleList) -> "Form":
        """Returns the form with BatchNorm statistics that no other choice shares; their modules are added to `own`."""
        return self

    @abstractmethod
    def merged(self) -> nn.Module | None:
        """Returns what the form computes at `lam` 0 in evaluation, as torch modules; None when nothing is left."""


@dataclass(frozen=True)
class Dropped(Form):
    """A block without its branch and the activation that ends it. Only for a shortcut that is the identity."""

    block: Residual

    def run(self, x: Tensor, lam: float) -> Tensor:
        """Computes x + lam * branch(x), the activation at the end gated by `lam` too; at 0 it returns `x`."""
        if lam == 0:
            return x
        y = x + lam * run_in_turn(self.block.branch, x, 1.0)
        return y if self.block.end is None else self.block.end.run(y, lam)

    def merged(self) -> None:
        return None


@dataclass(frozen=True)
class LeftOut(Form):
    """A block that has no shortcut and gives the shape that it takes, left out."""

    block: Residual

    def run(self, x: Tensor, lam: float) -> Tensor:
        """Computes lam * block(x) + (1 - lam) * x; at 0 it returns `x`."""
        return x if lam == 0 else gated(lam, self.block.run(x), x)

    def merged(self) -> None:
        return None


@dataclass(frozen=True)
class Folded(Form):
    """A block whose branch is folded into one layer, or into a few.

    The shortcut is folded in as well if there is only one part and the shortcut itself folds; else it stays beside.

    Attributes:
        block: The block.
        parts: The steps of the branch, in one tuple for each layer that they fold into.
        end: An activation to put behind a block that has none there; it needs a shortcut that is folded in.
    """

    block: Residual
    parts: tuple[tuple[Step, ...], ...]
    end: EndActivation | None = None

    def run(self, x: Tensor, lam: float) -> Tensor:
        """Runs the parts one after another, each padded at its front, and adds the shortcut."""
        y = x
        for part in self.parts:
            y = run_padded_once(part, y, lam)
        if self.block.shortcut is not None:
            y = y + run_in_turn(self.block.shortcut, x, lam)
        if self.end is not None:
            y = self.end.run(y, lam)
        return y if self.block.end is None else self.block.end.run(y, 1.0)

    def switches(self) -> list[Switch]:
        """Returns the switches of the branch, of the shortcut and of the activation that is put behind."""
        steps: list[object] = [*itertools.chain(*self.parts), *(self.block.shortcut or ()), self.end]
        return [step for step in steps if isinstance(step, Switch)]

    def with_own_statistics(self, own: nn.ModuleList) -> "Folded":
        """Returns the form with BatchNorm statistics of its own in branch and shortcut, added to `own`."""
        shortcut = self.block.shortcut and separated(self.block.shortcut, own)
        parts = tuple(separated(part, own) for part in self.parts)
        return dataclasses.replace(self, parts=parts, block=dataclasses.replace(self.block, shortcut=shortcut))

    @torch.no_grad()
    def merged(self) -> nn.Module:
        """Returns one layer for each part, with the shortcut and the activations that are left."""
        maps = [fold(part) for part in self.parts]
        beside = None
        if self.block.shortcut is not None:
            if self._takes_the_shortcut_in():
                channels = identity(maps[0].out_channels, like=maps[0].kernel)
                maps[0] = maps[0].plus(fold(self.block.shortcut) if self.block.shortcut else channels)
            else:
                beside = _plain(self.block.shortcut)
        if self.end is not None:
            maps[-1] = maps[-1].then(self.end.affine())
        layers = in_a_row([self._layer(one) for one in maps])
        acts = [step.act for step in (self.end, self.block.end) if step is not None]
        return in_a_row([layers if beside is None else residual(layers, beside), *copy.deepcopy(acts)])

    def _takes_the_shortcut_in(self) -> bool:
        shortcut = self.block.shortcut
        if shortcut is None or len(self.parts) > 1:
            return False
        return why_not(shortcut) is None and reach(shortcut) == reach(self.parts[0])

    def _layer(self, folded: Affine) -> nn.Module:
        steps = [step for part in self.parts for step in part]
        dtype = next(parameter.dtype for step in steps for parameter in step.parameters())
        on_images = any(isinstance(step, Convolution) for step in steps)
        return folded.conv(dtype) if on_images else folded.linear(dtype)


def _plain(steps: Sequence[Step]) -> nn.Module:
    """Steps on images at lambda 0 as modules of their own, each BatchNorm folded into the convolution before it."""
    modules: list[nn.Module] = []
    before: Step | None = None
    for step in steps:
        is_norm = isinstance(step, BatchNorm | SwitchedNorm)
        if is_norm and isinstance(before, Convolution) and why_not((before, step)) is None:
            modules[-1] = fold((before, step)).conv(before.conv.weight.dtype)
        else:
            modules += copy.deepcopy(step.modules())
        before = step
    return in_a_row(modules)
