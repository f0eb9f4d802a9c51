"""How a dimension falls on what libraries cut it into: tiles, and halves of halves."""

from typing import Final

import numpy as np

Array = np.ndarray[tuple[int, ...], np.dtype[np.float64]]
Flags = np.ndarray[tuple[int, ...], np.dtype[np.bool_]]
Classes = np.ndarray[tuple[int], np.dtype[np.str_]]

FLOAT_BYTES: Final = 4
_MOST_TWOS: Final = 14  # a stride of 2^14 floats is as bad for a cache or a memory channel as it gets


def twos(dim: Array) -> Array:
    """How often each number (N,) can be halved."""
    whole = np.rint(dim).astype(np.int64)
    halves: Array = ((whole[:, None] % (1 << np.arange(1, _MOST_TWOS + 1))) == 0).sum(axis=1).astype(np.float64)
    return halves


def fill(dim: Array, tile: int) -> Array:
    """The share of its tiles that a dimension (N,) fills: 1 where it is a multiple of the tile (tile quantization)."""
    filled: Array = dim / (np.ceil(dim / tile) * tile)
    return filled
