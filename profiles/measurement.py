"""A figure that was read off a machine: never a bare number, always with its spread, its count and its quality."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Quality = Literal["good", "noisy"]
_NOISY_IQR = 0.25
_RESAMPLES = 2_000


@dataclass(frozen=True)
class Measurement:
    """Milliseconds per run of one program over `n` samples of wall clock.

    `low_ms` and `high_ms` bound the median with 95 % confidence (bootstrap). `cpu_ms` is the process's CPU time beside
    it. `noisy` means that the middle half of the samples spreads over more than a quarter of the median.
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
    def of(cls, wall_ms: Sequence[float], cpu_ms: Sequence[float]) -> "Measurement":
        """Raises `ValueError` when there is no sample."""
        if not wall_ms:
            raise ValueError("no sample was taken")
        p10, p25, median, p75, p90 = (float(value) for value in np.percentile(wall_ms, [10, 25, 50, 75, 90]))
        low, high = bootstrap_interval(np.asarray(wall_ms)[:, None])
        return cls(median, p10, p90, p75 - p25, low, high, float(np.median(cpu_ms)), len(wall_ms))


@dataclass(frozen=True)
class Ratio:
    """One program's median against another's, with its 95 % interval."""

    median: float
    low: float
    high: float


def bootstrap_interval(samples: np.ndarray) -> tuple[float, float]:
    """The 95 % interval of the median of `samples` (n, 1), or of the ratio of the medians of its two columns (n, 2).

    Rows are drawn together, so what slowed both columns in one round slows both in the resample.
    """
    rows = np.random.default_rng(0).integers(len(samples), size=(_RESAMPLES, len(samples)))
    medians = np.median(samples[rows], axis=1)
    figures = medians[:, 0] / medians[:, 1] if samples.shape[1] == 2 else medians[:, 0]
    low, high = np.percentile(figures, [2.5, 97.5])
    return float(low), float(high)
