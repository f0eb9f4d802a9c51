"""Several readings of one thing as a table has them: the middle, and how far they lie apart."""

import statistics
from collections.abc import Sequence


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float]:
    """The mean, and the standard deviation; that of a single value is 0."""
    return statistics.mean(values), statistics.stdev(values) if len(values) > 1 else 0.0


def mean_with_deviation(values: Sequence[float], digits: int = 2) -> str:
    """The same as a text."""
    mean, deviation = mean_and_deviation(values)
    return f"{mean:.{digits}f} ± {deviation:.{digits}f}"


def mean_of_shares(shares: Sequence[float]) -> str:
    """The mean of shares, in percent; with their standard deviation where there are several."""
    if len(shares) > 1:
        return f"{100 * statistics.mean(shares):.2f} ± {100 * statistics.stdev(shares):.2f}"
    return f"{100 * statistics.mean(shares):.2f}"


def median_and_range(values: Sequence[float], digits: int = 2) -> str:
    """The median, and from the least to the most."""
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"
