"""How the predictors behind a modelled table were judged."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Judgement:
    """How well a predictor behind a modelled table did on public measurements that it had not learned from.

    Attributes:
        of: What was judged, such as kernels.
        on: Which public measurements.
        figures: How many of them.
        error: The mean relative error.
        covered: The share of them that lay within their 90 % intervals.
    """

    of: str
    on: str
    figures: int
    error: float
    covered: float

    @property
    def text(self) -> str:
        """The judgement in words: 'kernels: 14.2% off in the mean, 83% within the 90 % interval, by 6 figures of
        ...'."""
        share = f"{self.error:.1%} off in the mean, {self.covered:.0%} within the 90 % interval"
        return f"{self.of}: {share}, by {self.figures} figures of {self.on}"
