"""The last word on latency: the best candidates are measured beside the baseline, and the best that fits wins."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from latency.timing import Timings
from profiles.measurement import Measurement
from pruner.plan import Plan
from search.budget import Budget, BudgetUnreachableError
from search.candidate import Candidate, SearchResult

TimePlans = Callable[[Mapping[str, Plan]], Timings]
"""Times the networks of plans in the same rounds, under the names they are given."""

_AT_A_TIME: Final = 4
_BASELINE: Final = "baseline"


@dataclass(frozen=True)
class Finalist:
    """A candidate that was measured beside the baseline; `fits` if it does at the upper end of its interval."""

    candidate: Candidate
    measured: Measurement
    ratio: float
    fits: bool


def measure_finalists(
    result: SearchResult, budget: Budget, time_plans: TimePlans, *, margin: float = 0.0
) -> tuple[Finalist, ...]:
    """Measures candidates from the best down, a few at a time, until one fits; that one, the winner, comes first.

    A candidate fits when its whole 95 % interval is within the budget, so that noise does not decide, and its latency
    within the budget less the share `margin` of it.

    Raises `BudgetUnreachableError` when none fits: the table was too hopeful for the machine as it is now.
    """
    measured: list[Finalist] = []
    for start in range(0, len(result.candidates), _AT_A_TIME):
        group = {f"candidate {i}": c for i, c in enumerate(result.candidates[start : start + _AT_A_TIME])}
        plans = {_BASELINE: Plan(model=result.best.plan.model)} | {name: c.plan for name, c in group.items()}
        timings = time_plans(plans)
        for name, candidate in group.items():
            ratio = timings.ratio(name, _BASELINE).value
            surely = budget.is_surely_met(timings, name, _BASELINE)
            fits = surely and budget.tightened(margin).is_met(timings, name, _BASELINE)
            measured.append(Finalist(candidate, timings.measurement(name), ratio, fits))
        # The sort is stable: among those that fit, the best score stays first.
        measured.sort(key=lambda finalist: not finalist.fits)
        if measured[0].fits:
            return tuple(measured)
    fastest = min(measured, key=lambda finalist: finalist.ratio)
    raise BudgetUnreachableError(
        f"{len(measured)} plans fit {budget.latency_ms:.3f} ms by the table but none when measured: the fastest took "
        f"{fastest.measured.latency_ms:.3f} ms, {fastest.ratio:.3f} of the baseline; profile again on a quiet machine"
    )
