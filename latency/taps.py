"""What a convolution really multiplies: the taps that touch the image. At a border the others meet zeros that are in no
memory, and on a map smaller than its kernel there may be more of them than of the rest."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode


@dataclass(frozen=True)
class Axis:
    """One axis of a convolution. At position p tap k meets pixel p * stride - padding + k * dilation, if that is one
    of so many pixels."""

    positions: int
    pixels: int
    kernel: int
    stride: int = 1
    padding: int = 0
    dilation: int = 1

    @property
    def taps(self) -> int:
        """How many pairs of a position and a tap meet a pixel."""
        return int(self._meet.sum())

    @property
    def used(self) -> int:
        """How many taps meet a pixel at some position; the others' weights are never needed."""
        return int(self._meet.any(axis=0).sum())

    @property
    def _meet(self) -> "np.ndarray[tuple[int, ...], np.dtype[np.bool_]]":
        """(positions, kernel)"""
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
    """The axes of a convolution by its shapes, (B, C, ...) and (C_out, C_in / groups, ...).

    A transposed convolution puts its taps on the result in the way in which the other takes them off the image.
    """
    positions, pixels = (image, result) if transposed else (result, image)
    sides = zip(positions[2:], pixels[2:], weight[2:], strict=True)
    count = len(weight) - 2
    steps = zip(*(_of_each(given, count) for given in (stride, padding, dilation)), strict=True)
    return [Axis(*side, *step) for side, step in zip(sides, steps, strict=True)]


def _of_each(given: Sequence[int], axes: int) -> Sequence[int]:
    """PyTorch takes one number for all axes."""
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
    """Multiplications and additions of a convolution by its shapes, in the way of `FlopCounterMode`.

    Whether a tap meets a pixel is decided axis by axis, so the pairs that meet are a product over the axes; for each,
    every channel of the weight is multiplied, for every image.
    """
    met = [axis.taps for axis in axes_of(image, weight, out_shape, stride, padding, dilation, transposed)]
    return 2 * image[0] * weight[0] * weight[1] * int(np.prod(met, dtype=object))


class UnusedWeights(TorchDispatchMode):
    """Notes the bytes of convolutions' weights that no position needs, while modules run."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._unused: dict[int, int] = {}

    @property
    def total_bytes(self) -> int:
        return sum(self._unused.values())

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if func.overloadpacket is torch.ops.aten.convolution:
            self._note(args[1], axes_of(args[0].shape, args[1].shape, result.shape, *args[3:7]))
        return result

    def _note(self, weight: Tensor, axes: Sequence[Axis]) -> None:
        """Of a weight that is used twice, what neither needs is at most what either does not."""
        taps = int(np.prod([axis.kernel for axis in axes]))
        unused = weight.nbytes // taps * (taps - int(np.prod([axis.used for axis in axes])))
        place = weight.data_ptr()
        self._unused[place] = min(unused, self._unused.get(place, unused))
