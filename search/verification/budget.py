"""A latency budget: a promise about what is measured, not a hint about what is predicted."""

import math
from dataclasses import dataclass
from typing import Literal

from profiles.profile import Profile

Answer = Literal["met", "not met", "undecided"]


@dataclass(frozen=True)
class Verdict:
    """Whether a budget is met.

    Attributes:
        answer: `met`, `not met` or `undecided`.
        reason: Why that is the answer, in words.
    """

    answer: Answer
    reason: str


@dataclass(frozen=True)
class Budget:
    """The latency that a network may have.

    A budget that is a share of the baseline is judged by the ratio of two latencies taken in the same rounds, because a
    machine that has become slower since the profile makes both networks slower.

    Raises `ValueError` for figures that are not positive and finite.

    Attributes:
        latency_ms: Milliseconds; by the latency table, this is the budget.
        ratio: The share of the baseline's latency that is allowed when measured; None for a budget in milliseconds.

    Example:
        >>> Budget(25.0).tightened(0.02)
        Budget(latency_ms=24.5, ratio=None)
        >>> Budget(25.0).text_of(24.1234)
        '24.123 ms'
        >>> Budget(25.0, ratio=0.7).text_of(0.6789)
        '0.679 of the baseline'
    """

    latency_ms: float
    ratio: float | None = None

    def __post_init__(self) -> None:
        for figure in (self.latency_ms, self.ratio):
            if figure is not None and not (math.isfinite(figure) and figure > 0):
                raise ValueError(f"a budget is a positive number, not {figure}")

    @classmethod
    def relative(cls, ratio: float, profile: Profile) -> "Budget":
        """A budget that is a share of the baseline's latency.

        By the table, it is that share of what the table itself says of the uncut network. A table that is off by the
        same factor everywhere still says rightly which plans are within the share.

        Args:
            ratio: The share, such as 0.7.
            profile: The latency table.
        """
        return cls(ratio * profile.uncut_ms, ratio)

    @property
    def bound(self) -> float:
        """The figure that a measurement may not exceed: a share of the baseline, or milliseconds."""
        return self.latency_ms if self.ratio is None else self.ratio

    def tightened(self, share: float) -> "Budget":
        """The budget less a share of it: the aim of a search, so that what is measured later still fits."""
        return Budget(self.latency_ms * (1 - share), None if self.ratio is None else self.ratio * (1 - share))

    def text_of(self, figure: float) -> str:
        """A figure with its unit, as it is compared with `bound`."""
        return f"{figure:.3f} ms" if self.ratio is None else f"{figure:.3f} of the baseline"
