"""Counts the taps of a convolution that touch the image.

At a border the other taps meet padding, which is in no memory. On a map smaller than the kernel most taps may do so.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode


@dataclass(frozen=True)
class Axis:
    """One axis of a convolution.

    At position p, tap k meets pixel p * stride - padding + k * dilation, if the image has that pixel.

    Attributes:
        positions: Output pixels along the axis.
        pixels: Input pixels along the axis.
        kernel: Taps along the axis.

    Example:
        >>> axis = Axis(positions=3, pixels=3, kernel=7, padding=3)
        >>> axis.taps, axis.used
        (9, 5)
    """

    positions: int
    pixels: int
    kernel: int
    stride: int = 1
    padding: int = 0
    dilation: int = 1

    @property
    def taps(self) -> int:
        """The number of (position, tap) pairs that meet a pixel."""
        return int(self._meet.sum())

    @property
    def used(self) -> int:
        """The number of taps that meet a pixel at any position; the weights of the others are never needed."""
        return int(self._meet.any(axis=0).sum())

    @property
    def _meet(self) -> "np.ndarray[tuple[int, ...], np.dtype[np.bool_]]":
        """(positions, kernel): whether a tap meets a pixel at a position."""
        pixel = (
            np.arange(self.positions)[:, None] * self.stride
            - self.padding
            + np.arange(self.kernel)[None, :] * self.dilation
        )
        met: np.ndarray[tuple[int, ...], np.dtype[np.bool_]] = (pixel >= 0) & (pixel < self.pixels)
        return met


def axes_of(
    image: Sequence[int],
    weight: Sequence[int],
    result: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
) -> list[Axis]:
    """Returns the axes of a convolution, given its shapes.

    A transposed convolution spreads its taps over the result as a plain one gathers them from the image, so the two
    change places.

    Args:
        image: Shape of the input, (B, C_in, ...).
        weight: Shape of the weights, (C_out, C_in / groups, ...).
        result: Shape of the output, (B, C_out, ...).
        stride: One number per axis, or one for all.
        padding: One number per axis, or one for all.
        dilation: One number per axis, or one for all.
        transposed: Whether the convolution is a transposed one.
    """
    positions, pixels = (image, result) if transposed else (result, image)
    sides = zip(positions[2:], pixels[2:], weight[2:], strict=True)
    count = len(weight) - 2
    steps = zip(*(_of_each(given, count) for given in (stride, padding, dilation)), strict=True)
    return [Axis(*side, *step) for side, step in zip(sides, steps, strict=True)]


def _of_each(given: Sequence[int], axes: int) -> Sequence[int]:
    """One number per axis; PyTorch accepts a single number for all axes."""
    return list(given) * axes if len(given) == 1 else given


def convolution_flops(
    image: Sequence[int],
    weight: Sequence[int],
    _bias: Any,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    *_: Any,
    out_shape: Sequence[int],
    **__: Any,
) -> int:
    """Counts the multiplications and additions of a convolution, for PyTorch's `FlopCounterMode`.

    Whether a tap meets a pixel is decided axis by axis, so the number of pairs that meet is a product over the axes.
    For each pair, every channel of the weight is multiplied, for every image.

    Args:
        image: Shape of the input, (B, C_in, ...).
        weight: Shape of the weights, (C_out, C_in / groups, ...).
        stride: One number per axis, or one for all.
        padding: One number per axis, or one for all.
        dilation: One number per axis, or one for all.
        transposed: Whether the convolution is a transposed one.
        out_shape: Shape of the output, (B, C_out, ...).
    """
    met = [axis.taps for axis in axes_of(image, weight, out_shape, stride, padding, dilation, transposed)]
    return 2 * image[0] * weight[0] * weight[1] * int(np.prod(met, dtype=object))


class UnusedWeights(TorchDispatchMode):
    """Counts, while modules run inside it, the bytes of convolution weights that no output pixel needs."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._unused: dict[int, int] = {}

    @property
    def total_bytes(self) -> int:
        """The bytes of unneeded weights over all convolutions that ran."""
        return sum(self._unused.values())

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if func.overloadpacket is torch.ops.aten.convolution:
            self._note(args[1], axes_of(args[0].shape, args[1].shape, result.shape, *args[3:7]))
        return result

    def _note(self, weight: Tensor, axes: Sequence[Axis]) -> None:
        """Notes the unneeded bytes of one weight. If it is used twice, the smaller number bounds what neither use
        needs."""
        taps = int(np.prod([axis.kernel for axis in axes]))
        unused = weight.nbytes // taps * (taps - int(np.prod([axis.used for axis in axes])))
        place = weight.data_ptr()
        self._unused[place] = min(unused, self._unused.get(place, unused))
