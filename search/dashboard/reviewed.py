"""An evaluated plan as a reviewer sees it: its figures, and whether it is within the budget."""

from dataclasses import dataclass
from pathlib import Path

from profiles.measurement import Measurement
from pruner.choices.plan import Plan


@dataclass(frozen=True)
class Details:
    """Further results of the evaluation of a plan; None for those that were not recorded.

    Attributes:
        accuracy: Top-1, from 0 to 1.
        cross_entropy: Nats per image.
        agreement: The share of images on which the top-1 is the baseline's.
        distance: How far the outputs are from the baseline's, in the mean over the images.
        images: How many images were seen.
        how: What proposed the plan.
    """

    accuracy: float | None = None
    cross_entropy: float | None = None
    agreement: float | None = None
    distance: float | None = None
    images: int | None = None
    how: str | None = None


@dataclass(frozen=True)
class ReviewedPlan:
    """One evaluated plan with its figures.

    Attributes:
        number: Counts in the order of evaluation.
        score: Higher is better.
        latency_ms: Milliseconds by the table.
        budget_ms: The latency that the plan may have, in milliseconds.
        feasible: Whether the plan is within the limits by the table.
        measured: The latency as measured beside the baseline; None where nothing was measured.
        ratio: The latency over the baseline's; None where it is not known.
        fits: Whether the plan fits as measured, which overrules the table; None where nothing was measured.
        is_winner: Whether the plan won the search.
        details: Accuracy and the like.
        picture_svg: A map of what became of each block.
        report: The report of the winner's run, as a file; None where there is none.
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
        """Whether the plan fits: as measured, or by the table where nothing was measured."""
        return self.feasible if self.fits is None else self.fits

    @property
    def finding(self) -> str:
        """Whether the plan fits, and whether that is measured, in words."""
        if self.fits is None:
            return "fits by the table; not measured" if self.feasible else "does not fit by the table; not measured"
        return "fits, as measured" if self.fits else "does not surely fit, as measured"

    @property
    def verdict(self) -> str:
        """The finding in words, with a mark if the plan won."""
        return f"the winner: {self.finding}" if self.is_winner else self.finding
