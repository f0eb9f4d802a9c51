"""A figure that was read off a machine: never a bare number, always with its spread, its count and its quality."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

Quality = Literal["good", "noisy"]
Rounds = Sequence[Sequence[float]]
"""The readings of each round, in ms; every round holds equally many."""

_NOISY_IQR = 0.25
_STEADY_PERCENTILE = 25
_RESAMPLES = 1_000


@dataclass(frozen=True)
class Measurement:
    """Milliseconds per run of one program, of `n` readings by the wall clock.

    `latency_ms` is their lower quartile: what a run takes as long as nothing else gets in its way. What gets in the way
    comes in bursts and only ever adds, so that the quartile repeats within a per cent where the median moves by five.
    `low_ms` and `high_ms` bound it with 95 % confidence (bootstrap over the rounds). `cpu_ms` is the lower quartile of
    the process's time on the processor. The median, the other percentiles and the interquartile range tell what else
    was felt; `noisy` means that the middle half of the readings spreads over more than a quarter of the median.
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
        return "noisy" if self.iqr_ms > _NOISY_IQR * self.median_ms else "good"

    @property
    def spread(self) -> float:
        """Over what share of their median the middle half of the readings spreads."""
        return self.iqr_ms / self.median_ms if self.median_ms else 0.0

    def record(self) -> dict[str, float | int | str]:
        """The measurement for a file, its quality beside its figures."""
        return dataclasses.asdict(self) | {"quality": self.quality}

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> "Measurement":
        """The measurement that `record` was made of."""
        return cls(**{field.name: record[field.name] for field in dataclasses.fields(cls)})

    @classmethod
    def of(cls, wall_ms: Rounds, cpu_ms: Rounds) -> "Measurement":
        """Raises `ValueError` when there is no reading."""
        walls = np.asarray(wall_ms, dtype=float)
        if not walls.size:
            raise ValueError("nothing was read")
        p10, p25, median, p75, p90 = (float(figure) for figure in np.percentile(walls, [10, 25, 50, 75, 90]))
        low, high = _interval(_steady(walls))
        cpu = float(np.percentile(np.asarray(cpu_ms, dtype=float), _STEADY_PERCENTILE))
        return cls(p25, low, high, median, p10, p90, p75 - p25, cpu, walls.size)


@dataclass(frozen=True)
class Ratio:
    """How one program's latency compares with another's that was timed in the same rounds, and its 95 % interval."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, wall_ms: Rounds, base_ms: Rounds) -> "Ratio":
        """Of two programs' readings in the same rounds; the rounds are resampled for both together."""
        walls, bases = np.asarray(wall_ms, dtype=float), np.asarray(base_ms, dtype=float)
        drawn = _steady(walls) / _steady(bases)
        ratio = np.percentile(walls, _STEADY_PERCENTILE) / np.percentile(bases, _STEADY_PERCENTILE)
        return cls(float(ratio), *_interval(drawn))


Array = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


def _steady(walls: Array) -> Array:
    """(resamples,): the lower quartile of as many rounds as there are, drawn with replacement, by a seed of its own."""
    if walls.min() == walls.max():
        return np.full(_RESAMPLES, walls.flat[0])  # exact arithmetic reads the same in every round
    drawn = np.random.default_rng(0).integers(len(walls), size=(_RESAMPLES, len(walls)))
    percentiles: Array = np.percentile(walls[drawn].reshape(_RESAMPLES, -1), _STEADY_PERCENTILE, axis=-1)
    return percentiles


def _interval(figures: Array) -> tuple[float, float]:
    low, high = np.percentile(figures, [2.5, 97.5])
    return float(low), float(high)
