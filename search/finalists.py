"""The last word on latency: plans are measured beside the baseline, on every device that has a budget."""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from latency.timing import Timings
from profiles.measurement import Measurement
from profiles.profile import Profile
from pruner.plan import Plan
from search.budget import Budget
from search.candidate import Candidate

TimePlans = Callable[[Mapping[str, Plan]], Timings]
"""Times the networks of plans in the same rounds, under the names they are given."""

_BASELINE: Final = "baseline"


@dataclass(frozen=True)
class Judge:
    """A device that plans are measured on: its budget, the table that they were searched by, and what times them.

    Where nothing can be timed, because the device is not here, the table has the last word too.
    """

    budget: Budget
    profile: Profile
    time_plans: TimePlans | None

    @property
    def device(self) -> str:
        return self.profile.setting.device


@dataclass(frozen=True)
class Verdict:
    """One plan on one device. `ratio` is to the baseline in the same rounds, `correction` how it compares with what the
    table says of the same. `straddles`: the figure is within the budget, but the upper end of its interval is not."""

    device: str
    predicted_ms: float
    measured: Measurement | None
    ratio: float
    correction: float
    fits: bool
    straddles: bool


@dataclass(frozen=True)
class Finalist:
    """A candidate and its verdicts, that of the first device first."""

    candidate: Candidate
    verdicts: tuple[Verdict, ...]

    @property
    def fits(self) -> bool:
        return all(verdict.fits for verdict in self.verdicts)

    @property
    def straddles(self) -> bool:
        return any(verdict.straddles for verdict in self.verdicts)


def measure_finalists(
    candidates: Sequence[Candidate], judges: Sequence[Judge], *, margin: float = 0.0
) -> tuple[Finalist, ...]:
    """The candidates, in their order, each with a verdict of every judge.

    A candidate fits when its whole 95 % interval is within the budget, so that noise does not decide, and its latency
    within the budget less the share `margin` of it.
    """
    by_judge = [_verdicts(candidates, judge, margin) for judge in judges]
    return tuple(
        Finalist(candidate, verdicts)
        for candidate, verdicts in zip(candidates, zip(*by_judge, strict=True), strict=True)
    )


def winner_of(finalists: Sequence[Finalist]) -> Finalist | None:
    """The best by score of those that fit."""
    fitting = [finalist for finalist in finalists if finalist.fits]
    return min(fitting, key=lambda f: (-f.candidate.score, f.candidate.latency_ms), default=None)


def correction_of(finalists: Sequence[Finalist], judge: int) -> float:
    """By how much the table of a judge has to be multiplied to say what was measured: the median over the finalists."""
    return statistics.median(finalist.verdicts[judge].correction for finalist in finalists)


def _verdicts(candidates: Sequence[Candidate], judge: Judge, margin: float) -> list[Verdict]:
    uncut = Plan(model=candidates[0].plan.model)
    base_ms = judge.profile.latency_ms(uncut)
    predicted = [judge.profile.latency_ms(candidate.plan) for candidate in candidates]
    if judge.time_plans is None:
        return [
            Verdict(judge.device, ms, None, ms / base_ms, 1.0, ms <= judge.budget.latency_ms, False) for ms in predicted
        ]
    named = {f"candidate {index}": candidate.plan for index, candidate in enumerate(candidates)}
    timings = judge.time_plans({_BASELINE: uncut} | named)
    found = []
    for name, predicted_ms in zip(named, predicted, strict=True):
        measured, ratio = timings.measurement(name), timings.ratio(name, _BASELINE).value
        meets = judge.budget.is_met(timings, name, _BASELINE)
        surely = judge.budget.is_surely_met(timings, name, _BASELINE)
        fits = surely and judge.budget.tightened(margin).is_met(timings, name, _BASELINE)
        # A share of the baseline is a matter of ratios: that the machine has become slower says nothing of the table.
        now, then = (ratio, predicted_ms / base_ms) if judge.budget.ratio else (measured.latency_ms, predicted_ms)
        correction = now / then if then else math.inf
        found.append(Verdict(judge.device, predicted_ms, measured, ratio, correction, fits, meets and not surely))
    return found
