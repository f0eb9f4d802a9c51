"""How what a modelled table rests on was judged."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Judgement:
    """How what a modelled table rests on was judged: on which public measurements, how many of them, none of which had
    a part in it; the mean relative error, and which share of them lay within their 90 % intervals."""

    of: str
    on: str
    figures: int
    error: float
    covered: float

    @property
    def text(self) -> str:
        """'kernels: 14.2 % off in the mean, 83 % within the 90 % interval, by 6 figures of ...'."""
        share = f"{self.error:.1%} off in the mean, {self.covered:.0%} within the 90 % interval"
        return f"{self.of}: {share}, by {self.figures} figures of {self.on}"
