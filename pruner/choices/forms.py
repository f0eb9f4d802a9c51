"""What the choices make of a block, over the block's own weights."""

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
    run_in_turn,
)


@dataclass(frozen=True)
class Residual:
    """What a block computes: end(shortcut(x) + branch(x)), on images (B, C, H, W) or tokens (B, ..., C).

    No steps in the shortcut are the identity; None is no shortcut at all.
    """

    branch: tuple[Step, ...]
    shortcut: tuple[Step, ...] | None = ()
    end: Activation | None = None

    def before_end(self, x: Tensor) -> Tensor:
        """The block, step by step, up to the activation that ends it, if one does."""
        y = run_in_turn(self.branch, x, 1.0)
        return y if self.shortcut is None else y + run_in_turn(self.shortcut, x, 1.0)

    def run(self, x: Tensor) -> Tensor:
        """The block, step by step."""
        y = self.before_end(x)
        return y if self.end is None else self.end.run(y, 1.0)

    @property
    def text(self) -> str:
        """What the block's cost depends on, besides the size of its input."""
        beside = ""
        if self.shortcut is not None:
            beside = f" + ({text(self.shortcut)})" if self.shortcut else " + x"
        return text(self.branch) + beside + (f", {self.end.text}" if self.end else "")


class Form(ABC):
    """What a choice makes of a block."""

    @abstractmethod
    def run(self, x: Tensor, lam: float) -> Tensor:
        """From the block itself at `lam` 1 to what `merged` gives at 0."""

    def switches(self) -> list[Switch]:
        """The steps with BatchNorms that the baseline does not have."""
        return []

    def with_own_statistics(self, own: nn.ModuleList) -> "Form":
        """The same with BatchNorm statistics that no other choice sees; the modules that keep them go to `own`."""
        return self

    @abstractmethod
    def merged(self) -> nn.Module | None:
        """What it computes at `lam` 0 in evaluation, as modules of torch; None when nothing is left of the block."""


@dataclass(frozen=True)
class Dropped(Form):
    """The branch goes, and the activation at the end with it. For a block whose shortcut is the identity."""

    block: Residual

    def run(self, x: Tensor, lam: float) -> Tensor:
        if lam == 0:
            return x
        y = x + lam * run_in_turn(self.block.branch, x, 1.0)
        return y if self.block.end is None else self.block.end.run(y, lam)

    def merged(self) -> None:
        return None


@dataclass(frozen=True)
class Folded(Form):
    """Each of the `parts` of the branch becomes one layer. The shortcut is folded in if there is but one part and the
    shortcut itself folds; else it stays beside.

    `end` is put behind a block that has no activation there; its shortcut has to be one that is folded in.
    """

    block: Residual
    parts: tuple[tuple[Step, ...], ...]
    end: EndActivation | None = None

    def run(self, x: Tensor, lam: float) -> Tensor:
        y = x
        for part in self.parts:
            y = run_padded_once(part, y, lam)
        if self.block.shortcut is not None:
            y = y + run_in_turn(self.block.shortcut, x, lam)
        if self.end is not None:
            y = self.end.run(y, lam)
        return y if self.block.end is None else self.block.end.run(y, 1.0)

    def switches(self) -> list[Switch]:
        steps: list[object] = [*itertools.chain(*self.parts), *(self.block.shortcut or ()), self.end]
        return [step for step in steps if isinstance(step, Switch)]

    def with_own_statistics(self, own: nn.ModuleList) -> "Folded":
        shortcut = self.block.shortcut and separated(self.block.shortcut, own)
        parts = tuple(separated(part, own) for part in self.parts)
        return dataclasses.replace(self, parts=parts, block=dataclasses.replace(self.block, shortcut=shortcut))

    @torch.no_grad()
    def merged(self) -> nn.Module:
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
