"""The algebra of merging: convolutions, linears, BatchNorms and skips as affine maps that compose and add exactly.

Everything is done in float64 and rounded once, when a module is made of the result.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from pruner.errors import FoldError

Pair = tuple[int, int]


@dataclass(frozen=True, eq=False)
class Affine:
    """A convolution of images padded with zeros, plus a bias; a linear layer is one whose kernel is 1x1.

    Tap t of output i reads the input at stride * i - padding + t.

    Attributes:
        kernel: (O, I / groups, kh, kw), in float64.
        bias: (O,), in float64.
        groups: How many groups of channels are convolved apart from one another.
        stride: (rows, columns).
        padding: (rows, columns) of zeros on each side of the image.

    Example:
        >>> from torch import nn
        >>> from pruner.algebra.affine import of_layer
        >>> first, second = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 4, 3, padding=1)
        >>> print(of_layer(first).then(of_layer(second)))
        5x5 3>4 stride (1, 1) padding (2, 2)
    """

    kernel: Tensor
    bias: Tensor
    groups: int = 1
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)

    @property
    def in_channels(self) -> int:
        """How many channels the input has."""
        return self.kernel.shape[1] * self.groups

    @property
    def out_channels(self) -> int:
        """How many channels the output has."""
        return len(self.kernel)

    @property
    def is_pointwise(self) -> bool:
        """Whether each place of the output reads only the same place of the input."""
        return tuple(self.kernel.shape[2:]) == (1, 1) and self.stride == (1, 1) and self.padding == (0, 0)

    def size_before(self, after: "Affine") -> int:
        """How many weights the kernel of `self.then(after)` has."""
        sides = (self.kernel.shape[axis] + self.stride[axis - 2] * (after.kernel.shape[axis] - 1) for axis in (2, 3))
        return after.out_channels * (self.in_channels // math.gcd(self.groups, after.groups)) * math.prod(sides)

    @property
    def multiplications(self) -> int:
        """How many multiplications one position of the output takes."""
        return self.kernel.numel()

    def then(self, after: "Affine") -> "Affine":
        """Returns the map that applies this one and then `after`, as one convolution with all padding at its front.

        Where `after` alone would pad with zeros, the composed map computes values from the padded input: two
        convolutions that each pad for themselves have no exact fold, since zeros stand where the first would have given
        its bias. Strides multiply, and the stride of the first map widens the kernel and the padding of `after`.

        Raises:
            FoldError: when `after` takes another number of channels than this map gives.
        """
        if after.in_channels != self.out_channels:
            raise FoldError(f"{after.in_channels} channels cannot follow {self.out_channels}")
        return Affine(
            kernel=_composed(self, after),
            bias=after.bias + _channel_sums(after, self.bias),
            groups=math.gcd(self.groups, after.groups),
            stride=(self.stride[0] * after.stride[0], self.stride[1] * after.stride[1]),
            padding=(
                self.padding[0] + self.stride[0] * after.padding[0],
                self.padding[1] + self.stride[1] * after.padding[1],
            ),
        )

    def plus(self, beside: "Affine") -> "Affine":
        """Returns the map whose output is the sum of the outputs of both maps.

        Raises:
            FoldError: when the channels, strides or output sizes differ, or when neither kernel covers the other.
        """
        theirs = (beside.in_channels, beside.out_channels, beside.stride, beside._margin)
        if theirs != (self.in_channels, self.out_channels, self.stride, self._margin):
            raise FoldError(f"a sum of maps that differ: {self} and {beside}")
        groups = math.gcd(self.groups, beside.groups)
        wide, narrow = (self, beside) if self.padding >= beside.padding else (beside, self)
        rows, columns = wide.padding[0] - narrow.padding[0], wide.padding[1] - narrow.padding[1]
        if columns < 0:
            raise FoldError(f"a sum of maps of which neither covers the other: {self} and {beside}")
        kernel = _regrouped(wide, groups).clone()
        taps = kernel[:, :, rows : kernel.shape[2] - rows, columns : kernel.shape[3] - columns]
        taps += _regrouped(narrow, groups)
        return Affine(kernel, wide.bias + narrow.bias, groups, wide.stride, wide.padding)

    @property
    def _margin(self) -> Pair:
        """Twice the padding less the kernel: maps of equal margin and stride give images of equal size."""
        return (2 * self.padding[0] - self.kernel.shape[2], 2 * self.padding[1] - self.kernel.shape[3])

    def conv(self, dtype: torch.dtype) -> nn.Conv2d:
        """Returns the map as a convolution for images (B, C, H, W), its weights rounded once to `dtype`."""
        conv: nn.Conv2d = nn.utils.skip_init(
            nn.Conv2d,
            self.in_channels,
            self.out_channels,
            tuple(self.kernel.shape[2:]),
            stride=self.stride,
            padding=self.padding,
            groups=self.groups,
            device=self.kernel.device,
            dtype=dtype,
        )
        with torch.no_grad():
            conv.weight.copy_(self.kernel)
            conv.bias.copy_(self.bias)  # type: ignore[union-attr]
        return conv

    def linear(self, dtype: torch.dtype) -> nn.Linear:
        """Returns the map as a linear layer, for tensors whose last dimension is the channels.

        Raises:
            FoldError: when the map is not pointwise.
        """
        if not self.is_pointwise:
            raise FoldError(f"a kernel of {tuple(self.kernel.shape[2:])} is no linear")
        linear: nn.Linear = nn.utils.skip_init(
            nn.Linear, self.in_channels, self.out_channels, device=self.kernel.device, dtype=dtype
        )
        with torch.no_grad():
            linear.weight.copy_(_regrouped(self, 1)[:, :, 0, 0])
            linear.bias.copy_(self.bias)
        return linear

    def __str__(self) -> str:
        size = "x".join(str(side) for side in self.kernel.shape[2:])
        return f"{size} {self.in_channels}>{self.out_channels} stride {self.stride} padding {self.padding}"


@torch.no_grad()
def of_layer(layer: nn.Conv2d | nn.Linear) -> Affine:
    """Returns the map of a linear layer, or of a convolution that pads with zeros.

    Raises:
        FoldError: when the convolution pads with anything else, or pads by a name such as "same".
    """
    kernel = layer.weight.double()
    bias = kernel.new_zeros(len(kernel)) if layer.bias is None else layer.bias.double()
    if isinstance(layer, nn.Linear):
        return Affine(kernel[:, :, None, None], bias)
    padding: Any = layer.padding
    if isinstance(padding, str) or layer.padding_mode != "zeros":
        raise FoldError(f"a convolution with padding {padding!r}, {layer.padding_mode}, cannot be folded")
    return Affine(_undilated(kernel, layer.dilation), bias, layer.groups, _pair(layer.stride), _pair(padding))


@torch.no_grad()
def of_batch_norm(norm: nn.modules.batchnorm._BatchNorm) -> Affine:
    """Returns the map of a BatchNorm in evaluation: gamma (x - mean) / sqrt(var + eps) + beta.

    Raises:
        FoldError: when the BatchNorm keeps no running statistics.
    """
    if norm.running_mean is None or norm.running_var is None:
        raise FoldError("a BatchNorm without running statistics is no fixed map")
    scale = 1 / torch.sqrt(norm.running_var.double() + norm.eps)
    if norm.weight is not None:
        scale = norm.weight.double() * scale
    bias = -scale * norm.running_mean.double()
    return of_scale(scale, bias if norm.bias is None else bias + norm.bias.double())


@torch.no_grad()
def of_scale(scale: Tensor, bias: Tensor | None = None) -> Affine:
    """Returns the map scale * x + bias, channel by channel; `scale` and `bias` are (C,)."""
    scale = scale.double()
    return Affine(scale[:, None, None, None], torch.zeros_like(scale) if bias is None else bias, groups=len(scale))


def composition(maps: Sequence[Affine]) -> Affine:
    """Composes the maps, which run one after another, into one.

    The neighbours whose composition is smallest are composed first: the order changes the work, not the result.
    """
    left = list(maps)
    while len(left) > 1:
        place = min(range(len(left) - 1), key=lambda place: left[place].size_before(left[place + 1]))
        left[place : place + 2] = [left[place].then(left[place + 1])]
    return left[0]


def identity(channels: int, like: Tensor) -> Affine:
    """Returns the map that leaves every one of `channels` channels as it is, on the device of `like`."""
    return of_scale(torch.ones(channels, dtype=torch.float64, device=like.device))


def _pair(sizes: tuple[int, ...]) -> Pair:
    rows, columns = sizes
    return rows, columns


def _undilated(kernel: Tensor, dilation: tuple[int, ...]) -> Tensor:
    """The same kernel with the taps that dilation skips written out as zeros."""
    if dilation == (1, 1):
        return kernel
    sides = [step * (size - 1) + 1 for step, size in zip(dilation, kernel.shape[2:], strict=True)]
    written = kernel.new_zeros(*kernel.shape[:2], *sides)
    written[:, :, :: dilation[0], :: dilation[1]] = kernel
    return written


def _is_depthwise(affine: Affine) -> bool:
    return affine.groups == affine.in_channels == affine.out_channels


def _regrouped(affine: Affine, groups: int) -> Tensor:
    """The kernel written for fewer, wider groups: (O, I / groups, kh, kw), zero where nothing was connected."""
    if groups == affine.groups:
        return affine.kernel
    out, narrow, *taps = affine.kernel.shape
    together = affine.groups // groups
    wide = affine.kernel.new_zeros(groups, together, out // affine.groups, together, narrow, *taps)
    small = affine.kernel.reshape(groups, together, out // affine.groups, narrow, *taps)
    for member in range(together):
        wide[:, member, :, member] = small[:, member]
    return wide.reshape(out, together * narrow, *taps)


def _channel_sums(after: Affine, bias: Tensor) -> Tensor:
    """The output (O,) of the kernel of `after` for an image that is `bias` everywhere."""
    summed = after.kernel.sum((2, 3)).reshape(after.groups, -1, after.kernel.shape[1])
    return (summed @ bias.reshape(after.groups, -1, 1)).reshape(-1)


def _composed(first: Affine, after: Affine) -> Tensor:
    """The kernel of `after` on top of `first`: the product of two polynomials in the rows and columns, whose
    coefficients are matrices over the channels."""
    groups = math.gcd(first.groups, after.groups)
    out, inputs = after.out_channels, first.in_channels // groups
    if after.kernel[0, 0].numel() == 1 or (first.kernel[0, 0].numel() == 1 and first.stride == (1, 1)):
        # One of them is a number for each pair of channels, so that the taps of the other stay where they are.
        if _is_depthwise(after):
            wide: Tensor = first.kernel * after.kernel
            return wide
        if _is_depthwise(first):
            scales = first.kernel.reshape(after.groups, 1, -1, *first.kernel.shape[2:])
            return torch.flatten(after.kernel.unflatten(0, (after.groups, -1)) * scales, 0, 1)
    near_rows, far_rows, rows = _products(first.kernel.shape[2], after.kernel.shape[2], first.stride[0])
    near_columns, far_columns, columns = _products(first.kernel.shape[3], after.kernel.shape[3], first.stride[1])
    near = _evaluated(_regrouped(first, groups), near_rows, near_columns).unflatten(1, (groups, -1))
    far = _evaluated(_regrouped(after, groups), far_rows, far_columns).unflatten(1, (groups, -1))
    products = (far @ near).flatten(1)
    back = torch.kron(rows, columns).to(products)
    kernel: Tensor = (products.T @ back.T).reshape(out, inputs, len(rows), len(columns))
    return kernel


def _evaluated(kernel: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """A kernel (O, I, kh, kw) as its values at points: (rows * columns, O, I)."""
    points = torch.kron(rows, columns).to(kernel)
    return (points @ kernel.flatten(2).flatten(0, 1).T).reshape(len(points), *kernel.shape[:2])


@lru_cache
def _products(first: int, after: int, stride: int) -> tuple[Tensor, Tensor, Tensor]:
    """Matrices (P, first), (P, after), (out, P) by which two kernels along one axis compose in P products.

    Under a stride the taps of `first` part into as many phases, which compose one by one. Two short kernels take
    one product less than they have taps together, at the points 0, 1, -1, 2 and infinity (Toom, 1963; Cook, 1966): a
    fold of two 3x3 convolutions then takes 25 matrix products in place of 81.
    """
    out = first + stride * (after - 1)
    eye = [torch.eye(size, dtype=torch.float64) for size in (first, after, out)]
    if stride > 1:
        phases = [
            (range(phase, first, stride), range(phase, out, stride), _products(-(-(first - phase) // stride), after, 1))
            for phase in range(min(stride, first))
        ]
        return (
            torch.cat([near @ eye[0][taps] for taps, _, (near, _, _) in phases]),
            torch.cat([far for _, _, (_, far, _) in phases]),
            torch.cat([eye[2][:, places] @ sums for _, places, (_, _, sums) in phases], dim=1),
        )
    if 1 < first <= 3 and 1 < after <= 3:
        points = torch.tensor([0.0, 1.0, -1.0, 2.0][: out - 1], dtype=torch.float64)[:, None]
        near, far, whole = (torch.cat([points ** torch.arange(len(one)), one[-1:]]) for one in eye)
        return near, far, torch.linalg.inv(whole).contiguous()
    pairs = [(near, far) for far in range(after) for near in range(first)]
    return (
        eye[0][[near for near, _ in pairs]],
        eye[1][[far for _, far in pairs]],
        eye[2][:, [near + far for near, far in pairs]],
    )
