"""Convolutions for a predictor: the work that they really do, the features that decide their speed, and their classes.

All functions take rows of `DIMS`, (N, 8), of square images and kernels.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np

from latency.predictor.tiles import FLOAT_BYTES, Array, Classes, fill, twos
from latency.roofline import Peak

DIMS: Final = ("b", "c_in", "c_out", "kernel", "size", "stride", "padding", "groups")
"""The dimensions of a convolution; `size` is the side of its input."""
# Tiles (pixels, channels) of the matrix products that a convolution is computed as (implicit GEMM).
_TILES: Final = ((32, 32), (64, 32), (64, 64), (128, 64), (128, 128), (256, 128))
_WINOGRAD: Final = (2, 3, 4, 6)  # pixels of an output tile, each way
_SIDES: Final = ("1x1", "3x3", "5x5", "7x7 and wider")


@dataclass(frozen=True)
class Convolutions:
    """Convolutions and the work that follows from their dimensions; every property is (N,).

    Attributes:
        dims: (N, 8), the convolutions, in the order of `DIMS`.
    """

    dims: Array

    @cached_property
    def positions(self) -> Array:
        """The output pixels along an axis."""
        _, _, _, kernel, size, stride, padding, _ = self.dims.T
        along: Array = np.floor((size + 2 * padding - kernel) / stride) + 1
        return along

    @cached_property
    def taps(self) -> tuple[Array, Array]:
        """Along an axis, the number of (position, tap) pairs that meet a pixel, and of taps that meet one anywhere.

        They are counted as in `latency/taps.py`. A kernel that is not square is given by a side that is no whole
        number; its last tap counts as the fraction.
        """
        _, _, _, kernel, size, stride, padding, _ = self.dims.T
        pairs, used = np.zeros(len(self.dims)), np.zeros(len(self.dims))
        for tap in range(int(np.ceil(kernel.max(initial=0)))):
            first = np.maximum(np.ceil((padding - tap) / stride), 0)
            last = np.minimum(np.floor((np.ceil(size) - 1 + padding - tap) / stride), self.positions - 1)
            met = np.maximum(last - first + 1, 0) * np.clip(kernel - tap, 0, 1)
            pairs += met
            used += np.where(met > 0, np.clip(kernel - tap, 0, 1), 0)
        return pairs, used

    @cached_property
    def flops(self) -> Array:
        """Floating-point operations, of taps that meet a pixel alone."""
        b, c_in, c_out, *_, groups = self.dims.T
        operations: Array = 2 * b * c_out * (c_in / groups) * self.taps[0] ** 2
        return operations

    @cached_property
    def read_bytes(self) -> Array:
        """Bytes of the input in fp32."""
        b, c_in, _, _, size, *_ = self.dims.T
        image: Array = FLOAT_BYTES * b * c_in * size**2
        return image

    @cached_property
    def written_bytes(self) -> Array:
        """Bytes of the output in fp32."""
        written: Array = FLOAT_BYTES * self.dims[:, 0] * self.dims[:, 2] * self.positions**2
        return written

    @cached_property
    def weight_bytes(self) -> Array:
        """Bytes of the weights in fp32, of taps that meet a pixel alone."""
        _, c_in, c_out, *_, groups = self.dims.T
        weights: Array = FLOAT_BYTES * c_out * (c_in / groups) * self.taps[1] ** 2
        return weights

    @property
    def traffic_bytes(self) -> Array:
        """Bytes of input, output and weights in fp32."""
        return self.read_bytes + self.written_bytes + self.weight_bytes


def flops(dims: Array) -> Array:
    """Returns the floating-point operations of convolutions: (N, 8) -> (N,)."""
    return Convolutions(dims).flops


def traffic_bytes(dims: Array) -> Array:
    """Returns the bytes that convolutions read and write in fp32: (N, 8) -> (N,)."""
    return Convolutions(dims).traffic_bytes


def tiling(dims: Array, peak: Peak) -> Array:
    """Returns the features that decide how fast convolutions run: (N, 8) -> (N, F).

    They describe the matrix product that a convolution is computed as (pixels x output channels x taps and input
    channels), how its tiles fill the device's compute units wave by wave, and whether a library's code can be used for
    it (multiples and borders).

    Args:
        dims: (N, 8), the convolutions.
        peak: The device's peak rates and its number of compute units.
    """
    b, c_in, c_out, kernel, size, stride, padding, groups = dims.T
    known = Convolutions(dims)
    out, operations, traffic = known.positions, known.flops, known.traffic_bytes
    pixels, inner, outer = b * out**2, c_in / groups, c_out / groups
    depth = inner * kernel**2
    logs = [out, inner, outer, pixels, depth, known.read_bytes, known.written_bytes, known.weight_bytes]
    logs += [operations / peak.flops_per_ms, traffic / peak.bytes_per_ms, c_in / c_out, inner * outer]
    logs += [operations / peak.flops_per_ms / (traffic / peak.bytes_per_ms), pixels * outer, pixels * c_out]
    logs += [known.written_bytes / known.read_bytes, known.weight_bytes / traffic, b * groups, b * c_in, b * c_out]
    plain = [out, padding - (kernel - 1) / 2, np.mod(size + 2 * padding - kernel, stride), np.minimum(inner, outer)]
    plain += [known.taps[0] / (out * kernel), (groups == c_in) * 1.0 + ((groups > 1) & (groups < c_in)) * 2.0]
    plain += [np.mod(depth, 3), np.mod(out**2, 4)]
    waves = []
    for tile_pixels, tile_channels in _TILES:
        tiles = np.ceil(pixels / tile_pixels) * np.ceil(outer / tile_channels) * groups
        wave = tiles / peak.compute_units
        useful = operations / (2 * tiles * tile_pixels * tile_channels * depth)
        waves += [np.log2(wave), wave / np.ceil(wave), useful]
    winograd = b * np.ceil(out / 2) ** 2 * np.ceil(c_out / 32) / peak.compute_units
    fills = [(out / (np.ceil(out / tile) * tile)) ** 2 for tile in _WINOGRAD]
    fills += [fill(dim, tile) for dim in (inner, outer) for tile in (4, 8, 16, 32, 64, 128)]
    fills += [fill(depth, tile) for tile in (8, 16, 32)] + [fill(pixels, tile) for tile in (16, 32, 1024)]
    fills += [fill(out**2, tile) for tile in (4, 16, 64, 128, 256)] + [fill(size, tile) for tile in (8, 16, 32)]
    fills += [fill(out, tile) for tile in (7, 8, 14, 16, 32)]
    halves = [twos(dim) for dim in (b, c_in, c_out, inner, outer, size, out, pixels, depth)]
    return np.column_stack([*map(np.log2, logs), *plain, *waves, np.log2(winograd), *fills, *halves])


def classes(dims: Array) -> Classes:
    """Returns the names of the convolutions' classes, such as 'depthwise 3x3': (N, 8) -> (N,).

    Libraries have separate code for each class, so errors within a class are alike.
    """
    _, c_in, _, kernel, *_, groups = dims.T
    sides = np.select([kernel == 1, kernel <= 4, kernel <= 6], _SIDES[:3], _SIDES[3])
    depthwise, grouped = (groups == c_in) & (groups > 1), (groups > 1) & (groups < c_in)
    kinds = np.select([depthwise, grouped], ["depthwise ", "grouped "], "dense ")
    named: Classes = np.char.add(kinds, sides)
    return named


def impossible(dims: Array) -> str | None:
    """Returns why there can be no convolution of these dimensions (8,), or None if there can be one."""
    _, c_in, c_out, kernel, size, _, padding, groups = dims
    if kernel > size + 2 * padding:
        return f"its kernel of {kernel:g} is larger than its image of {size:g} with a padding of {padding:g}"
    if c_in % groups or c_out % groups:
        return f"its {groups:g} groups do not divide {c_in:g} and {c_out:g} channels"
    return None
