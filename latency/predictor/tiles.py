"""Features of how dimensions fall on the tiles and powers of two that libraries work with."""

from typing import Final

import numpy as np

Array = np.ndarray[tuple[int, ...], np.dtype[np.float64]]
Flags = np.ndarray[tuple[int, ...], np.dtype[np.bool_]]
Classes = np.ndarray[tuple[int], np.dtype[np.str_]]

FLOAT_BYTES: Final = 4
"""The bytes of a number in fp32."""
_MOST_TWOS: Final = 14  # a stride of 2^14 floats is as bad for a cache or a memory channel as it gets


def twos(dim: Array) -> Array:
    """Returns how often each number (N,) can be halved, at most 14 times: twice for 12, never for 7."""
    whole = np.rint(dim).astype(np.int64)
    halves: Array = ((whole[:, None] % (1 << np.arange(1, _MOST_TWOS + 1))) == 0).sum(axis=1).astype(np.float64)
    return halves


def fill(dim: Array, tile: int) -> Array:
    """Returns the share of its tiles that each dimension (N,) fills (tile quantization).

    It is 1 where the dimension is a multiple of the tile.
    """
    filled: Array = dim / (np.ceil(dim / tile) * tile)
    return filled
