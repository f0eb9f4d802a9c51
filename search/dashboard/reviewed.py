"""What a reviewer is shown of one evaluated plan: the figures, and what they say of the budget."""

from dataclasses import dataclass
from pathlib import Path

from profiles.measurement import Measurement
from pruner.choices.plan import Plan


@dataclass(frozen=True)
class Details:
    """What else the evaluation of a plan found out; None for what was not recorded.

    Accuracy and agreement with the baseline lie in [0, 1], over `images` images; `how` is how the plan was proposed.
    """

    accuracy: float | None = None
    cross_entropy: float | None = None
    agreement: float | None = None
    distance: float | None = None
    images: int | None = None
    how: str | None = None


@dataclass(frozen=True)
class ReviewedPlan:
    """One evaluated plan. `number` counts in the order of evaluation; a higher `score` is better.

    `latency_ms` and `feasible` are the table's word on it. `measured`, `ratio` to the baseline and `fits` are there if
    it was measured beside the baseline; then they are the last word. `picture_svg` shows what became of each block.
    """

    number: int
    plan: Plan
    score: float
    latency_ms: float
    budget_ms: float
    feasible: bool
    measured: Measurement | None
    ratio: float | None
    fits: bool | None
    is_winner: bool
    details: Details
    picture_svg: str
    report: Path | None = None

    @property
    def is_within_budget(self) -> bool:
        """As measured, or by the table where nothing was measured."""
        return self.feasible if self.fits is None else self.fits

    @property
    def finding(self) -> str:
        """Whether it fits and by what, in words."""
        if self.fits is None:
            return "fits by the table; not measured" if self.feasible else "does not fit by the table; not measured"
        return "fits, as measured" if self.fits else "does not surely fit, as measured"

    @property
    def verdict(self) -> str:
        """The finding, and that it won if it did."""
        return f"the winner: {self.finding}" if self.is_winner else self.finding
