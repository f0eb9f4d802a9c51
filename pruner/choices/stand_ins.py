"""Stand-ins for a whole block with weights of their own: one layer, or a narrower copy of the block (`hidden.py`).

Their weights are fitted in `pruner/fitting/`. Until then a new layer returns its input, as if the block were dropped.
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
"""The most features that a fit may have: the sums over more would take more than 170 MB each, and a minute to solve."""

_SIDE: Final = 3

Layer = TypeVar("Layer", bound=nn.Module)


@dataclass(frozen=True)
class Fitted(Form):
    """lam * block(x) + (1 - lam) * layer(x). An activation that ends the block stays, behind the layer.

    Attributes:
        block: The steps of the block.
        kept: The block's own module.
        layer: The layer that stands in for the block up to the activation that ends it.
        batch_norms: The convolutions of `layer`, each with the BatchNorm that follows it directly.
    """

    block: Residual
    kept: nn.Module
    layer: nn.Module
    batch_norms: Sequence[BatchNormPair] = ()

    def run(self, x: Tensor, lam: float) -> Tensor:
        """Runs the block at `lam` 1, the layer at 0, and both between; then the activation that ends the block."""
        if lam == 1:
            whole: Tensor = self.kept(x)
            return whole
        fitted: Tensor = self.layer(x)
        y = fitted if lam == 0 else gated(lam, self.block.before_end(x), fitted)
        return y if self.block.end is None else self.block.end.run(y, 1.0)

    def merged(self) -> nn.Module:
        """Returns a copy of the layer with its BatchNorms folded, and of the activation that ends the block."""
        ends = [] if self.block.end is None else [copy.deepcopy(self.block.end.act)]
        return in_a_row([folded_copy(self.layer, self.batch_norms), *ends])


def offered(shape: Sequence[int], *, own_depthwise: bool) -> tuple[str, ...]:
    """Returns the fitted layers that may stand in for a block which takes and gives the same shape.

    Only those are offered whose fits have no more than `MOST_FEATURES` features.

    Args:
        shape: Tokens (N, C) or images (C, H, W).
        own_depthwise: Whether the block begins with a depthwise convolution that keeps the size of its images.

    Example:
        >>> from pruner.choices.stand_ins import offered
        >>> offered((197, 192), own_depthwise=False)
        ('fit',)
        >>> offered((64, 56, 56), own_depthwise=False)
        ('fit', 'fit-3x3', 'fit-separable')
    """
    if len(shape) not in (2, 3):
        return ()
    channels = shape[1] if len(shape) == 2 else shape[0]
    taps = {FIT: 1} if len(shape) == 2 else {FIT: 1, FIT_3X3: _SIDE**2, FIT_SEPARABLE: 1 if own_depthwise else _SIDE**2}
    return tuple(choice for choice, count in taps.items() if channels * count <= MOST_FEATURES)


def new_layer(choice: str, block: Residual, shape: Sequence[int], like: Tensor) -> nn.Module:
    """Returns the layer of a fitted choice, which returns its input until it is fitted.

    `fit` is a linear layer for tokens and a 1x1 convolution for images, `fit-3x3` a dense convolution. `fit-separable`
    is x + pointwise(depthwise(x)); its depthwise convolution is the block's own where the block begins with one.

    Args:
        choice: `fit`, `fit-3x3` or `fit-separable`.
        block: The steps of the block.
        shape: The shape of the block's input and output: tokens (N, C) or images (C, H, W).
        like: A tensor of the dtype, and on the device, that the layer is made for.
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
    """Returns a new layer of the kind that a choice merges to, to be fitted.

    Args:
        merged: What the choice merges to.
        block: The steps of the block.
        shape: The shape of the block's input and output; None for a block that changes the shape of its input.
        like: A tensor of the dtype, and on the device, that the layer is made for.

    Returns:
        The layer. Where the choice merges to several, it is that of `fit-separable` if the block keeps its shape and
        begins with a depthwise convolution, else None. It is None too where its fit would have more than
        `MOST_FEATURES` features, and for a convolution that is grouped, dilated or not centred.
    """
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
    """Returns a linear layer that returns its input, of the dtype and on the device of `like`."""
    layer = _new(nn.Linear(channels, channels), like)
    nn.init.eye_(layer.weight)
    _zero_bias(layer)
    return layer


def convolution(channels: int, out_channels: int, side: int, like: Tensor, stride: int = 1) -> nn.Conv2d:
    """Returns a convolution that returns its input, or as many channels and places of it as the output has.

    Args:
        channels: How many channels the input has.
        out_channels: How many channels the output has.
        side: The side of the kernel, which is odd.
        like: A tensor of the dtype, and on the device, that the layer is made for.
        stride: The stride along both axes.
    """
    layer = _new(nn.Conv2d(channels, out_channels, side, stride, padding=side // 2), like)
    nn.init.dirac_(layer.weight)
    _zero_bias(layer)
    return layer


def _is_plain(conv: nn.Conv2d) -> bool:
    """Whether it is dense, with a square centred kernel and the same stride along both axes."""
    side, stride = conv.kernel_size[0], conv.stride[0]
    square = conv.kernel_size == (side, side) and conv.padding == (side // 2, side // 2)
    return square and conv.stride == (stride, stride) and conv.dilation == (1, 1) and conv.groups == 1


def own_depthwise(block: Residual) -> nn.Conv2d | None:
    """Returns the depthwise convolution that the branch begins with, if its images keep their size; else None."""
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
