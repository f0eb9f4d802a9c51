"""What stands in for a whole block with weights of its own: one layer, whatever the block computes, or the block itself
with a narrower inside (`hidden.py`).

Nothing here knows how their weights are found (`pruner/fitting/`): a new layer hands on its input, as if the block were
dropped.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from torch import Tensor, nn

from pruner.algebra.modules import BatchNormPair, folded_copy, in_a_row, residual
from pruner.algebra.steps import Convolution, gated
from pruner.choices.choice import FIT, FIT_3X3, FIT_SEPARABLE
from pruner.choices.forms import Form, Residual

MOST_FEATURES: Final = 4608
"""Of a fit: the sums over more would take more than 170 MB each, and a minute to solve."""

_SIDE: Final = 3

Layer = TypeVar("Layer", bound=nn.Module)


@dataclass(frozen=True)
class Fitted(Form):
    """lam * block(x) + (1 - lam) * layer(x). An activation that ends the block stays, behind the layer."""

    block: Residual
    kept: nn.Module
    layer: nn.Module
    batch_norms: Sequence[BatchNormPair] = ()

    def run(self, x: Tensor, lam: float) -> Tensor:
        if lam == 1:
            whole: Tensor = self.kept(x)
            return whole
        fitted: Tensor = self.layer(x)
        y = fitted if lam == 0 else gated(lam, self.block.before_end(x), fitted)
        return y if self.block.end is None else self.block.end.run(y, 1.0)

    def merged(self) -> nn.Module:
        ends = [] if self.block.end is None else [copy.deepcopy(self.block.end.act)]
        return in_a_row([folded_copy(self.layer, self.batch_norms), *ends])


def offered(shape: Sequence[int], *, own_depthwise: bool) -> tuple[str, ...]:
    """The stand-ins that a block may have which takes and gives `shape`, tokens (N, C) or images (C, H, W), and which
    begins with a depthwise convolution or not: those whose fits have no more than `MOST_FEATURES`."""
    if len(shape) not in (2, 3):
        return ()
    channels = shape[1] if len(shape) == 2 else shape[0]
    taps = {FIT: 1} if len(shape) == 2 else {FIT: 1, FIT_3X3: _SIDE**2, FIT_SEPARABLE: 1 if own_depthwise else _SIDE**2}
    return tuple(choice for choice, count in taps.items() if channels * count <= MOST_FEATURES)


def new_layer(choice: str, block: Residual, shape: Sequence[int], like: Tensor) -> nn.Module:
    """The layer of a choice, which leaves its input as it is until it is fitted; of the kind of number, and on the
    device, of `like`.

    `fit` is a linear for tokens and a 1x1 convolution for images, `fit-3x3` a dense convolution. `fit-separable` is
    x + pointwise(depthwise(x)), beginning with the block's own depthwise convolution where the block does.
    """
    if len(shape) == 2:
        return linear(shape[1], like)
    channels = shape[0]
    if choice == FIT_SEPARABLE:
        pointwise = _new(nn.Conv2d(channels, channels, 1), like)
        nn.init.zeros_(pointwise.weight)
        _zero_bias(pointwise)
        return residual(nn.Sequential(_depthwise(block, channels, like), pointwise))
    return convolution(channels, channels, _SIDE if choice == FIT_3X3 else 1, like)


def layer_like(merged: nn.Module, block: Residual, shape: Sequence[int] | None, like: Tensor) -> nn.Module | None:
    """A new layer of the kind that a choice merges to, `merged`; None where that is more than one layer, or one
    whose fit has more than `MOST_FEATURES`. `shape` is None for a block that changes that of its input."""
    layer = merged[0] if isinstance(merged, nn.Sequential) else merged
    if isinstance(layer, nn.Linear):
        return linear(layer.in_features, like)
    if isinstance(layer, nn.Conv2d):
        side = layer.kernel_size[0]
        fits = layer.in_channels * side**2 <= MOST_FEATURES
        if not fits or side % 2 == 0 or not _is_plain(layer):
            return None
        return convolution(layer.in_channels, layer.out_channels, side, like, layer.stride[0])
    if shape is None or own_depthwise(block) is None:
        return None
    return new_layer(FIT_SEPARABLE, block, shape, like)


def linear(channels: int, like: Tensor) -> nn.Linear:
    """A linear layer that hands on its input."""
    layer = _new(nn.Linear(channels, channels), like)
    nn.init.eye_(layer.weight)
    _zero_bias(layer)
    return layer


def convolution(channels: int, out_channels: int, side: int, like: Tensor, stride: int = 1) -> nn.Conv2d:
    """A convolution of an odd side that hands on its input, or as many of its channels and places as it has itself."""
    layer = _new(nn.Conv2d(channels, out_channels, side, stride, padding=side // 2), like)
    nn.init.dirac_(layer.weight)
    _zero_bias(layer)
    return layer


def _is_plain(conv: nn.Conv2d) -> bool:
    """Whether it is a dense convolution with a square kernel about every place, or every so many-th."""
    side, stride = conv.kernel_size[0], conv.stride[0]
    square = conv.kernel_size == (side, side) and conv.padding == (side // 2, side // 2)
    return square and conv.stride == (stride, stride) and conv.dilation == (1, 1) and conv.groups == 1


def own_depthwise(block: Residual) -> nn.Conv2d | None:
    """The depthwise convolution that the block's branch begins with, if its images keep their size."""
    first = block.branch[0]
    if not isinstance(first, Convolution) or first.why_not is not None:
        return None
    conv = first.conv
    same = all(
        2 * padding == dilation * (side - 1)
        for padding, dilation, side in zip(conv.padding, conv.dilation, conv.kernel_size, strict=True)
        if isinstance(padding, int)
    )
    depthwise = conv.groups == conv.in_channels == conv.out_channels > 1
    return conv if same and depthwise and set(conv.stride) == {1} else None


def _depthwise(block: Residual, channels: int, like: Tensor) -> nn.Conv2d:
    own = own_depthwise(block)
    if own is not None:
        layer = copy.deepcopy(own)
        if layer.bias is None:  # a depthwise layer with a bias is the block's own, which fits leave as it is
            layer.bias = nn.Parameter(like.new_zeros(channels))
        return layer
    layer = _new(nn.Conv2d(channels, channels, _SIDE, padding=_SIDE // 2, groups=channels, bias=False), like)
    nn.init.dirac_(layer.weight, groups=channels)
    return layer


def _zero_bias(layer: nn.Linear | nn.Conv2d) -> None:
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)


def _new(layer: Layer, like: Tensor) -> Layer:
    return layer.to(device=like.device, dtype=like.dtype)
