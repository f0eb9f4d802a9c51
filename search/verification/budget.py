"""How long a network may take: a promise about what is measured, not a hint about what is predicted."""

import math
from dataclasses import dataclass
from typing import Literal

from profiles.profile import Profile

Answer = Literal["met", "not met", "undecided"]


@dataclass(frozen=True)
class Verdict:
    """The answer to whether a budget is met, and the reason in words."""

    answer: Answer
    reason: str


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
        """A share of the baseline. By the table it is a share of what the table itself says of the uncut network: one
        that is off by the same factor everywhere still says rightly which plans are within the share."""
        return cls(ratio * profile.uncut_ms, ratio)

    @property
    def bound(self) -> float:
        """What is not to be exceeded when measured: a share of the baseline, or milliseconds."""
        return self.latency_ms if self.ratio is None else self.ratio

    def tightened(self, share: float) -> "Budget":
        """The budget less a share of it: what to aim at so that what is measured later still fits."""
        return Budget(self.latency_ms * (1 - share), None if self.ratio is None else self.ratio * (1 - share))

    def text_of(self, figure: float) -> str:
        """A figure that is held against `bound`, with its unit."""
        return f"{figure:.3f} ms" if self.ratio is None else f"{figure:.3f} of the baseline"
