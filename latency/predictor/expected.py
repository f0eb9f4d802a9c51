"""What is expected of an operator before anything is learned of its shape, and how a prediction is judged."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from sklearn.linear_model import LinearRegression

from latency.predictor.tiles import Array, Flags

_REWEIGHTINGS: Final = 8
_LEAST_ERROR: Final = 0.02


@dataclass(frozen=True)
class Expected:
    """overhead + times * roofline: what launching an operator takes, and how far from the peak it runs."""

    overhead_ms: float
    times: float

    @classmethod
    def fitted(cls, floor_ms: Array, took_ms: Array, least: float) -> "Expected":
        """Of the least mean relative error, by least squares that are weighted anew, the overhead not negative and at
        least `least` times the roofline: where every row was small enough for a cache, the roofline holds all the same
        for those that are not.

        `floor_ms` and `took_ms` are (N,).
        """
        terms = np.column_stack([np.ones(len(floor_ms)), floor_ms])
        rest_ms = took_ms - least * floor_ms
        weights = 1 / took_ms**2
        for _ in range(_REWEIGHTINGS):
            line = LinearRegression(positive=True, fit_intercept=False).fit(terms, rest_ms, sample_weight=weights)
            relative = np.abs(line.predict(terms) - rest_ms) / took_ms
            weights = 1 / took_ms**2 / np.maximum(relative, _LEAST_ERROR)
        overhead_ms, more = map(float, line.coef_)
        return cls(overhead_ms, least + more)

    def __call__(self, floor_ms: Array) -> Array:
        """(N,) -> (N,)"""
        expected_ms: Array = self.overhead_ms + self.times * floor_ms
        return expected_ms


@dataclass(frozen=True)
class Judged:
    """How a regression did on shapes that took no part in a fit: rows, mean absolute relative error, the share of rows
    within 10 %, and the share inside the 90 % interval."""

    rows: int
    error: float
    within_10_percent: float
    covered: float

    @classmethod
    def by(cls, errors: Array, inside: Flags) -> "Judged":
        """`errors` (N,) are log(measured / predicted), and `inside` says which lay in their intervals."""
        relative = np.abs(np.expm1(-errors))
        return cls(len(errors), float(relative.mean()), float((relative <= 0.1).mean()), float(inside.mean()))


@dataclass(frozen=True)
class Basis:
    """What a regression rests on: how it came about, what it was judged by, and on which timings; and the overhead that
    those had of its own device, which no prediction has."""

    how: str
    judged_by: str
    timings: str
    overhead_ms: float = 0.0
