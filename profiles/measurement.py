"""A figure that was read off a machine: never a bare number, always with its spread, its count and its quality."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Quality = Literal["good", "noisy"]
Figures = Sequence[float] | np.ndarray[tuple[int], np.dtype[np.float64]]
_NOISY_IQR = 0.25
_RESAMPLES = 2_000


@dataclass(frozen=True)
class Measurement:
    """Milliseconds per run of one program over `n` samples.

    `median_ms` is taken with the machine's drift removed where other programs were timed in the same rounds; `low_ms`
    and `high_ms` bound it with 95 % confidence (bootstrap). The percentiles and the interquartile range are those of
    the wall clock as it was, and `cpu_ms` is the process's CPU time beside it. `noisy` means that the middle half of
    the samples spreads over more than a quarter of the median.
    """

    median_ms: float
    p10_ms: float
    p90_ms: float
    iqr_ms: float
    low_ms: float
    high_ms: float
    cpu_ms: float
    n: int

    @property
    def quality(self) -> Quality:
        return "noisy" if self.iqr_ms > _NOISY_IQR * self.median_ms else "good"

    @classmethod
    def of(cls, wall_ms: Figures, cpu_ms: Figures, steady_ms: Figures | None = None) -> "Measurement":
        """`steady_ms` are the samples without drift. Raises `ValueError` when there is no sample."""
        if not len(wall_ms):
            raise ValueError("no sample was taken")
        p10, p25, p75, p90 = (float(figure) for figure in np.percentile(wall_ms, [10, 25, 75, 90]))
        steady = np.asarray(wall_ms if steady_ms is None else steady_ms)
        low, high = median_interval(steady)
        median, cpu = float(np.median(steady)), float(np.median(cpu_ms))
        return cls(median, p10, p90, p75 - p25, low, high, cpu, len(wall_ms))


@dataclass(frozen=True)
class Ratio:
    """How one program's latency compares with another's in the same rounds: the median, and its 95 % interval."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, ratios: Figures) -> "Ratio":
        """From the ratios of single rounds."""
        return cls(float(np.median(ratios)), *median_interval(np.asarray(ratios)))


def median_interval(samples: np.ndarray[tuple[int], np.dtype[np.float64]]) -> tuple[float, float]:
    """The 95 % interval of the median, by bootstrap with a seed of its own."""
    drawn = np.random.default_rng(0).integers(len(samples), size=(_RESAMPLES, len(samples)))
    low, high = np.percentile(np.median(samples[drawn], axis=1), [2.5, 97.5])
    return float(low), float(high)
