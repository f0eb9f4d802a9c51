"""The kinds of operator that a predictor knows: their dimensions, their work, and the features of a regression."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from latency.predictor import convolution
from latency.predictor.tiles import FLOAT_BYTES, Array, Classes, fill, twos
from latency.roofline import BEYOND_BELIEF, Peak

_TILES: Final = (16, 32, 64, 128, 256)
_ROW_TILES: Final = (32, 64, 128, 256, 512, 1024, 2048)


EVERY: Final = "every"
"""The name of the only class of a kind whose operators are not told apart."""


@dataclass(frozen=True)
class OperatorKind:
    """A kind of operator, such as `linear`; an operator of it is a row of D dimensions.

    Attributes:
        name: The name of the kind.
        dims: The names of the D dimensions.
        flops: (N, D) -> (N,), floating-point operations.
        traffic_bytes: (N, D) -> (N,), bytes read and written in fp32.
        tiling: (N, D) and a device's peak rates -> (N, F), features of how dimensions fall on tiles.
        least: The least that an operator takes, as a multiple of the roofline.
        shape: Start and stop of the slice of the dimensions that make an operator's shape.
        classes: (N, D) -> (N,), the name of the class; operators of one class have similar errors.
        impossible: (D,) -> why there can be no such operator, or None.
    """

    name: str
    dims: tuple[str, ...]
    flops: Callable[[Array], Array]
    traffic_bytes: Callable[[Array], Array]
    tiling: Callable[[Array, Peak], Array]
    # How many times the roofline it takes at the least: algorithms that multiply less than the textbook's take less.
    least: float = 1.0
    # From which of the dimensions to which make the shape: of a convolution all but the batch.
    shape: tuple[int | None, int | None] = (None, None)
    classes: Callable[[Array], Classes] = field(default=lambda dims: np.full(len(dims), EVERY))
    impossible: Callable[[Array], str | None] = field(default=lambda _: None)

    def shapes(self, dims: Array) -> Array:
        """Numbers the distinct shapes: (N, D) -> (N,)."""
        numbers = np.unique(dims[:, slice(*self.shape)], axis=0, return_inverse=True)[1]
        return numbers.ravel().astype(np.float64)

    def roofline_ms(self, dims: Array, peak: Peak) -> Array:
        """Returns max(operations / peak, bytes / bandwidth) in milliseconds: (N, D) -> (N,).

        Example:
            >>> linear = KINDS["linear"]
            >>> dims = np.array([[1.0, 64.0, 32.0, 16.0]])
            >>> linear.flops(dims).tolist(), linear.traffic_bytes(dims).tolist()
            ([65536.0], [14336.0])
            >>> linear.roofline_ms(dims, Peak(flops_per_ms=65536.0, bytes_per_ms=7168.0)).tolist()
            [2.0]
        """
        floor_ms: Array = np.maximum(self.flops(dims) / peak.flops_per_ms, self.traffic_bytes(dims) / peak.bytes_per_ms)
        return floor_ms

    def certain_ms(self, dims: Array, peak: Peak) -> Array:
        """Returns the milliseconds that no algorithm and no cache can be faster than: (N, D) -> (N,)."""
        least_ms: Array = self.roofline_ms(dims, peak) / BEYOND_BELIEF
        return least_ms

    def reach(self, dims: Array) -> Array:
        """Returns the quantities that the range of a regression is told by: (N, D) -> (N, R).

        These are the binary logarithms of 1 plus the operations, the bytes and each dimension.
        """
        return np.log2(1 + np.column_stack([self.flops(dims), self.traffic_bytes(dims), dims]))

    def features(self, dims: Array, peak: Peak) -> Array:
        """Returns the features that trees learn from: (N, D) -> (N, F).

        These are dimensions, work and arithmetic intensity on logarithmic scales, and how the dimensions fall on tiles
        and powers of two.
        """
        flops, traffic = self.flops(dims), self.traffic_bytes(dims)
        return np.column_stack([
            dims,
            np.log2(np.maximum(dims, 0.5)),
            np.log2(flops),
            np.log2(traffic),
            np.log2(flops / traffic),
            np.log2(self.roofline_ms(dims, peak)),
            self.tiling(dims, peak),
        ])  # fmt: skip


def _product_flops(dims: Array) -> Array:
    flops: Array = 2 * dims.prod(axis=1)
    return flops


def _product_tiling(dims: Array, _peak: Peak) -> Array:
    """Libraries choose their code by the sizes of the matrices, by which dimension is the smallest, and by the nearest
    of the shapes that they were tuned on: in doublings, or in plain numbers."""
    b, m, n, k = dims.T
    logs = np.log2(dims)
    matrices = [logs[:, i] + logs[:, j] for i, j in ((0, 1), (1, 2), (1, 3), (2, 3))]
    matrices += [logs[:, 0] + logs[:, 1] + logs[:, j] for j in (2, 3)]
    ratios = [logs[:, i] - logs[:, j] for i, j in ((1, 2), (1, 3), (2, 3))]
    ordered = np.sort(logs[:, 1:], axis=1)
    distances = [m + n, m - n, m + k, m - k, n + k, n - k, m + n + k, m + n - k, m - n + k, n + k - m]
    fills = [fill(dim, tile) for dim in (m, n, k) for tile in _TILES]
    return np.column_stack([*matrices, *ratios, ordered, *distances, *(twos(dim) for dim in (b, m, n, k)), *fills])


def _rows_tiling(dims: Array, _peak: Peak) -> Array:
    b, h = dims[:, 0], dims[:, 1]
    return np.column_stack([np.log2(b * h), twos(b), twos(h), twos(b * h), *(fill(h, tile) for tile in _ROW_TILES)])


def _rows_kind(name: str, flops_each: int) -> OperatorKind:
    return OperatorKind(
        name,
        ("b", "h"),
        flops=lambda dims: flops_each * dims[:, 0] * dims[:, 1],
        traffic_bytes=lambda dims: 2.0 * FLOAT_BYTES * dims[:, 0] * dims[:, 1],
        tiling=_rows_tiling,
    )


KINDS: Final[Mapping[str, OperatorKind]] = {
    kind.name: kind
    for kind in (
        OperatorKind(
            "linear",
            ("b", "m", "n", "k"),
            _product_flops,
            # [b, m, k] x [k, n]: one matrix of weights for the whole batch
            lambda dims: FLOAT_BYTES * (dims[:, 0] * dims[:, 1] * (dims[:, 2] + dims[:, 3]) + dims[:, 2] * dims[:, 3]),
            _product_tiling,
        ),
        OperatorKind(
            "bmm",
            ("b", "m", "n", "k"),
            _product_flops,
            lambda dims: (
                FLOAT_BYTES * dims[:, 0] * (dims[:, 1] * dims[:, 3] + dims[:, 3] * dims[:, 2] + dims[:, 1] * dims[:, 2])
            ),
            _product_tiling,
        ),
        OperatorKind(
            "conv",
            convolution.DIMS,
            convolution.flops,
            convolution.traffic_bytes,
            convolution.tiling,
            least=1 / BEYOND_BELIEF,
            shape=(1, None),
            classes=convolution.classes,
            impossible=convolution.impossible,
        ),
        _rows_kind("softmax", 5),
        _rows_kind("ln", 8),
        OperatorKind(
            "elementwise",
            # over [b, h]; how many tensors are read and written, and whether each number takes more than an addition
            ("b", "h", "tensors", "costly"),
            lambda dims: dims[:, 0] * dims[:, 1] * (1 + 7 * dims[:, 3]),
            lambda dims: FLOAT_BYTES * dims[:, 0] * dims[:, 1] * dims[:, 2],
            _rows_tiling,
            shape=(None, 2),
        ),
    )
}
"""The kinds of operator by name."""

ELEMENTWISE: Final[Mapping[str, Sequence[int]]] = {"add": (3, 0), "mul": (3, 0), "relu": (2, 0), "gelu": (2, 1)}
"""Operators of the kind `elementwise`: how many tensors each reads and writes, and whether it is costly (1) or not."""
