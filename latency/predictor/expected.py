"""What an operator is expected to take before trees learn from its shape, and how a regression is judged."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from sklearn.linear_model import LinearRegression

from latency.predictor.tiles import Array, Flags

_REWEIGHTINGS: Final = 8
_LEAST_ERROR: Final = 0.02


@dataclass(frozen=True)
class Expected:
    """The expected latency, overhead + times * roofline.

    Attributes:
        overhead_ms: What launching an operator takes, in milliseconds.
        times: How many times as long as the roofline an operator takes.

    Example:
        >>> Expected(overhead_ms=0.5, times=2.0)(np.array([1.0, 3.0])).tolist()
        [2.5, 6.5]
    """

    overhead_ms: float
    times: float

    @classmethod
    def fitted(cls, floor_ms: Array, took_ms: Array, least: float) -> "Expected":
        """Fits overhead and multiple for the least mean relative error, by iteratively reweighted least squares.

        The overhead is not negative. The multiple is at least `least`: even if all timed rows were small enough for a
        cache, larger ones are bound by the roofline.

        Args:
            floor_ms: (N,), the rooflines in milliseconds.
            took_ms: (N,), the measured latencies in milliseconds.
            least: The least multiple.
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
        """Returns the expected latencies (N,) for rooflines (N,), in milliseconds."""
        expected_ms: Array = self.overhead_ms + self.times * floor_ms
        return expected_ms


@dataclass(frozen=True)
class Judged:
    """How well a regression predicted shapes that took no part in a fit.

    Attributes:
        rows: The number of rows predicted.
        error: The mean absolute relative error.
        within_10_percent: The share of rows predicted within 10 %.
        covered: The share of rows inside their 90 % interval.
    """

    rows: int
    error: float
    within_10_percent: float
    covered: float

    @classmethod
    def by(cls, errors: Array, inside: Flags) -> "Judged":
        """Judges N predictions.

        Args:
            errors: (N,), log(measured / predicted).
            inside: (N,), whether each measurement lay in its interval.
        """
        relative = np.abs(np.expm1(-errors))
        return cls(len(errors), float(relative.mean()), float((relative <= 0.1).mean()), float(inside.mean()))


@dataclass(frozen=True)
class Basis:
    """What a regression rests on.

    Attributes:
        how: How the regression was made.
        judged_by: What it was judged by.
        timings: The timings that it was fitted to.
        overhead_ms: The overhead of the device's own timings, in milliseconds, which goes into no prediction.
    """

    how: str
    judged_by: str
    timings: str
    overhead_ms: float = 0.0
