"""The exact solver: the best plan of a space by known gains of cuts and of pairs of cuts, by HiGHS."""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array

from search.space import Array, Space

Indices = np.ndarray[tuple[int, ...], np.dtype[np.int64]]

MOST_PAIRS: Final = 120
_GAP: Final = 1e-6
_STDOUT, _STDERR = 1, 2
_ONE_AT_A_TIME: Final = threading.Lock()
# The rounding in a sum of a few hundred savings; what the table says of the plan itself decides in the end.
_ROUNDING: Final = 1e-9


def solve(space: Space, gains: Array, pairs: Array | None = None, most_pairs: int = MOST_PAIRS) -> Array | None:
    """Finds the plan of the largest gain within the limits, as a vector x (cuts,) of zeros and ones.

    It maximises gains . x + x . pairs . x. The limits count as far as their amounts add up block by block. This is a
    multiple-choice knapsack problem: at most one cut of each block. A product of two variables is a third that is
    bounded by them (McCormick, Mathematical Programming 10, 1976), which is exact for zeros and ones.

    Args:
        space: The plans to choose from.
        gains: (cuts,) what each cut adds to the score.
        pairs: (cuts, cuts) what two cuts add together; only the strictly upper triangle counts.
        most_pairs: How many entries of `pairs` count: those of the largest size.

    Returns:
        The vector; None when no plan is within the limits.
    """
    count = len(space.cuts)
    firsts, seconds = _largest(pairs, most_pairs) if pairs is not None else (np.empty(0, int), np.empty(0, int))
    products = np.array([] if pairs is None else pairs[firsts, seconds])
    rows = _Rows(count + len(products))
    for limit in range(len(space.limits)):
        rows.add(np.arange(count), space.savings[limit], low=space.needed[limit] - _ROUNDING)
    for place in np.unique(space.places):
        members = np.flatnonzero(space.places == place)
        if len(members) > 1:
            rows.add(members, np.ones(len(members)), high=1)
    for index, (one, other, gain) in enumerate(zip(firsts, seconds, products, strict=True)):
        product = count + index
        if gain < 0:
            rows.add(np.array([product, one, other]), np.array([1.0, -1, -1]), low=-1)
        else:
            rows.add(np.array([product, one]), np.array([1.0, -1]), high=0)
            rows.add(np.array([product, other]), np.array([1.0, -1]), high=0)
    if not count:
        return np.empty(0) if (space.needed <= _ROUNDING).all() else None
    with _stdout_on_stderr():
        found = milp(
            -np.concatenate([gains, products]),
            constraints=rows.constraint(),
            integrality=np.concatenate([np.ones(count), np.zeros(len(products))]),
            bounds=Bounds(0, 1),
            options={"mip_rel_gap": _GAP},
        )
    if found.x is None:
        return None
    vector: Array = np.round(found.x[:count])
    return vector


def _largest(pairs: Array, most: int) -> tuple[Indices, Indices]:
    """The rows and the columns of the entries above the diagonal that are largest in size."""
    firsts, seconds = np.nonzero(np.triu(pairs, 1))
    order = np.argsort(-np.abs(pairs[firsts, seconds]), kind="stable")[:most]
    return firsts[order], seconds[order]


class _Rows:
    """The rows of a sparse system low <= A x <= high."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.rows: list[int] = []
        self.columns: list[int] = []
        self.values: list[float] = []
        self.lows: list[float] = []
        self.highs: list[float] = []

    def add(self, columns: Indices, values: Array, low: float = -np.inf, high: float = np.inf) -> None:
        self.rows += [len(self.lows)] * len(columns)
        self.columns += list(columns)
        self.values += list(values)
        self.lows.append(low)
        self.highs.append(high)

    def constraint(self) -> LinearConstraint:
        shape = (len(self.lows), self.width)
        return LinearConstraint(csr_array((self.values, (self.rows, self.columns)), shape=shape), self.lows, self.highs)


@contextmanager
def _stdout_on_stderr() -> Iterator[None]:
    """HiGHS writes a word of its own to stdout now and then, past Python; stdout is for the data of a command."""
    with _ONE_AT_A_TIME:
        sys.stdout.flush()
        kept = os.dup(_STDOUT)
        try:
            os.dup2(_STDERR, _STDOUT)
            yield
        finally:
            os.dup2(kept, _STDOUT)
            os.close(kept)
