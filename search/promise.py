"""A budget is a promise: search, measure the best, correct the tables by what that shows, and search on."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from search.budget import BudgetUnreachableError
from search.candidate import Candidate, SearchResult
from search.finalists import Finalist, Judge, correction_of, measure_finalists, winner_of

Hunt = Callable[[Sequence[float], int, int], SearchResult]
"""(corrections, first, stop) -> what a search finds in the slots from `first` up to `stop`, with the table of each
judge multiplied by its correction."""

_AT_A_TIME: Final = 4
_CORRECTIONS: Final = 4
# The table is taken as it is when it says within this what is measured.
_SETTLED: Final = 0.02


@dataclass(frozen=True)
class Kept:
    """What the last search found, and everything that was measured on the way, the winner first."""

    result: SearchResult
    finalists: tuple[Finalist, ...]

    @property
    def winner(self) -> Finalist:
        return self.finalists[0]


def keep_promise(
    hunt: Hunt, judges: Sequence[Judge], n_trials: int, *, margin: float, tell: Callable[[str], None]
) -> Kept:
    """Searches with `n_trials` and measures the best few; goes on with a quarter of them more, once if the tables are
    off by more than a little, and again for as long as nothing that was measured fits.

    Raises `BudgetUnreachableError` when in the end nothing fits.
    """
    before = corrections = tuple(1.0 for _ in judges)
    finalists: list[Finalist] = []
    result = hunt(corrections, 0, n_trials)
    more, low = max(1, n_trials // 4), 1.0
    for attempt in range(_CORRECTIONS + 1):
        group = _to_measure(result, finalists)
        shown = before
        if group:
            measured = measure_finalists(group, judges, margin=margin)
            finalists += measured
            _tell_of_noise(measured, tell)
            shown = tuple(correction_of(measured, index) for index in range(len(judges)))
        off = max(abs(now / then - 1) for now, then in zip(shown, before, strict=True))
        fitting = winner_of(finalists)
        settled = off <= _SETTLED or not group or attempt > 0
        if (fitting is not None and settled) or not finalists or attempt == _CORRECTIONS:
            break
        # Where the tables say what is measured, and still nothing fits, noise decides: aim lower and lower.
        low, before = (low if off > _SETTLED else low * (1 + _SETTLED)), shown
        corrections = tuple(factor * low for factor in shown)
        took = (f"{judge.device} takes {by:.3f} of it" for judge, by in zip(judges, corrections, strict=True))
        tell(f"the table is corrected by what was measured ({', '.join(took)}): searching on")
        try:
            result = hunt(corrections, n_trials + attempt * more, n_trials + (attempt + 1) * more)
        except BudgetUnreachableError:
            if fitting is None:
                raise
            break
    if not finalists:
        raise BudgetUnreachableError(f"nothing to measure was found ({result.stopped}): allow more trials or more time")
    winner = winner_of(finalists)
    if winner is None:
        raise _unreachable(finalists, judges)
    rest = [finalist for finalist in finalists if finalist is not winner]
    return Kept(result, (winner, *rest))


def _to_measure(result: SearchResult, finalists: Sequence[Finalist]) -> list[Candidate]:
    """The best candidates that were not measured yet and are better than what is known to fit."""
    known = {finalist.candidate.plan for finalist in finalists}
    winner = winner_of(finalists)
    better = [
        candidate
        for candidate in result.candidates
        if candidate.plan not in known and (winner is None or candidate.score > winner.candidate.score)
    ]
    return better[:_AT_A_TIME]


def _tell_of_noise(measured: Sequence[Finalist], tell: Callable[[str], None]) -> None:
    for finalist in measured:
        for verdict in finalist.verdicts:
            if verdict.straddles and verdict.measured is not None:
                tell(
                    f"a plan of score {finalist.candidate.score:.4f} takes {verdict.measured.latency_ms:.3f} ms on "
                    f"{verdict.device} ({verdict.measured.low_ms:.3f} to {verdict.measured.high_ms:.3f}): the noise "
                    "straddles the budget, and a safer plan is taken"
                )


def _unreachable(finalists: Sequence[Finalist], judges: Sequence[Judge]) -> BudgetUnreachableError:
    fastest = min(finalists, key=lambda finalist: finalist.verdicts[0].ratio)
    took = ", ".join(
        f"{verdict.measured.latency_ms:.3f} ms on {verdict.device} ({verdict.ratio:.3f} of the baseline)"
        for verdict in fastest.verdicts
        if verdict.measured is not None
    )
    budgets = ", ".join(f"{judge.budget.latency_ms:.3f} ms on {judge.device}" for judge in judges)
    return BudgetUnreachableError(
        f"{len(finalists)} plans fit {budgets} by the table but none when measured: the fastest took {took}; "
        "profile again on a quiet machine"
    )
