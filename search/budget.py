"""How long a network may take: a promise about what is measured, not a hint about what is predicted."""

import math
from dataclasses import dataclass

from latency.timing import Timings
from profiles.profile import Profile


class BudgetUnreachableError(Exception):
    """No plan fits the budget: names the fastest one's latency."""


@dataclass(frozen=True)
class Budget:
    """At most `latency_ms`; if `ratio` is set, the budget is that share of the baseline as measured side by side.

    A ratio is judged by the ratio of latencies taken in the same rounds, because a machine that has become slower since
    the profile makes both networks slower.
    """

    latency_ms: float
    ratio: float | None = None

    def __post_init__(self) -> None:
        for figure in (self.latency_ms, self.ratio):
            if figure is not None and not (math.isfinite(figure) and figure > 0):
                raise ValueError(f"a budget is a positive number, not {figure}")

    @classmethod
    def relative(cls, ratio: float, profile: Profile) -> "Budget":
        return cls(ratio * profile.baseline_ms, ratio)

    def tightened(self, share: float) -> "Budget":
        """The budget less a share of it: what to aim at so that what is measured later still fits."""
        return Budget(self.latency_ms * (1 - share), None if self.ratio is None else self.ratio * (1 - share))

    def is_met(self, timings: Timings, network: str, baseline: str) -> bool:
        """Whether a network that was timed beside the baseline fits."""
        if self.ratio is None:
            return timings.measurement(network).latency_ms <= self.latency_ms
        return timings.ratio(network, baseline).value <= self.ratio

    def is_surely_met(self, timings: Timings, network: str, baseline: str) -> bool:
        """Whether it fits even at the upper end of its 95 % interval: the noise does not straddle the budget."""
        if self.ratio is None:
            return timings.measurement(network).high_ms <= self.latency_ms
        return timings.ratio(network, baseline).high <= self.ratio
