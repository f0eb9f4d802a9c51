"""Measured latencies: never a bare number, always with a spread, a count and a quality."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

Quality = Literal["good", "noisy"]
Rounds = Sequence[Sequence[float]]
"""The readings of each round, in milliseconds; every round has equally many."""

_NOISY_IQR = 0.25
_STEADY_PERCENTILE = 25
_RESAMPLES = 1_000


@dataclass(frozen=True)
class Measurement:
    """The latency of one program, in milliseconds per run, from `n` readings.

    `latency_ms` is the lower quartile of the readings: the time of a run that nothing else disturbs. Disturbances come
    in bursts and only ever add, so that the quartile repeats within a per cent where the median moves by five.

    Attributes:
        latency_ms: The lower quartile of the readings by the wall clock.
        low_ms: The lower end of its 95 % interval (bootstrap over the rounds).
        high_ms: The upper end.
        iqr_ms: The interquartile range of the readings.
        cpu_ms: The lower quartile of the process's time on the processor.
        n: How many readings there are.

    Example:
        >>> rounds = [[2.0, 2.1, 2.2], [2.0, 2.1, 2.6]]
        >>> found = Measurement.of(rounds, cpu_ms=rounds)
        >>> round(found.latency_ms, 3), round(found.median_ms, 3), found.n, found.quality
        (2.025, 2.1, 6, 'good')
    """

    latency_ms: float
    low_ms: float
    high_ms: float
    median_ms: float
    p10_ms: float
    p90_ms: float
    iqr_ms: float
    cpu_ms: float
    n: int

    @property
    def quality(self) -> Quality:
        """`noisy` where the middle half of the readings spreads over more than a quarter of their median, else
        `good`."""
        return "noisy" if self.iqr_ms > _NOISY_IQR * self.median_ms else "good"

    @property
    def spread(self) -> float:
        """The interquartile range of the readings, as a share of their median."""
        return self.iqr_ms / self.median_ms if self.median_ms else 0.0

    def record(self) -> dict[str, float | int | str]:
        """The measurement as plain data for a file, with its quality."""
        return dataclasses.asdict(self) | {"quality": self.quality}

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> "Measurement":
        """The measurement that `record()` turned into this plain data."""
        return cls(**{field.name: record[field.name] for field in dataclasses.fields(cls)})

    @classmethod
    def of(cls, wall_ms: Rounds, cpu_ms: Rounds) -> "Measurement":
        """The measurement from the readings of several rounds.

        Args:
            wall_ms: The readings by the wall clock, in milliseconds.
            cpu_ms: Those of the process's time on the processor.

        Raises:
            ValueError: when there is no reading.
        """
        walls = np.asarray(wall_ms, dtype=float)
        if not walls.size:
            raise ValueError("nothing was read")
        p10, p25, median, p75, p90 = (float(figure) for figure in np.percentile(walls, [10, 25, 50, 75, 90]))
        low, high = _interval(_steady(walls))
        cpu = float(np.percentile(np.asarray(cpu_ms, dtype=float), _STEADY_PERCENTILE))
        return cls(p25, low, high, median, p10, p90, p75 - p25, cpu, walls.size)


@dataclass(frozen=True)
class Ratio:
    """One program's latency over another's that was timed in the same rounds, with its 95 % interval."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, wall_ms: Rounds, base_ms: Rounds) -> "Ratio":
        """The ratio from the readings of two programs in the same rounds.

        The rounds are resampled for both together, so that what slows both does not widen the interval.

        Args:
            wall_ms: The readings of the program, in milliseconds.
            base_ms: Those of the program that it is compared with.
        """
        walls, bases = np.asarray(wall_ms, dtype=float), np.asarray(base_ms, dtype=float)
        drawn = _steady(walls) / _steady(bases)
        ratio = np.percentile(walls, _STEADY_PERCENTILE) / np.percentile(bases, _STEADY_PERCENTILE)
        return cls(float(ratio), *_interval(drawn))


Array = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


def _steady(walls: Array) -> Array:
    """(resamples,) the lower quartile of rounds drawn with replacement, as many as there are, by a fixed seed."""
    if walls.min() == walls.max():
        return np.full(_RESAMPLES, walls.flat[0])  # exact arithmetic reads the same in every round
    drawn = np.random.default_rng(0).integers(len(walls), size=(_RESAMPLES, len(walls)))
    percentiles: Array = np.percentile(walls[drawn].reshape(_RESAMPLES, -1), _STEADY_PERCENTILE, axis=-1)
    return percentiles


def _interval(figures: Array) -> tuple[float, float]:
    low, high = np.percentile(figures, [2.5, 97.5])
    return float(low), float(high)
