"""The search that keeps a budget: search, measure the best, correct the tables by what that shows, search on."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from search.candidate import Candidate, SearchResult
from search.errors import BudgetUnreachableError
from search.verification.finalists import (
    Finalist,
    Judge,
    OnDevice,
    correction_of,
    measure_finalists,
    slowdown_of,
    winner_of,
)

SearchFunction = Callable[[Sequence[float], int, int], SearchResult]
"""(corrections, first, stop) -> what a search finds in the slots from `first` up to `stop`, with the table of each
judge multiplied by its correction."""

_AT_A_TIME: Final = 4
_CORRECTIONS: Final = 4
# Once something fits, the search goes on this often because the table turned out to be off.
_CORRECTIONS_OF_A_WINNER: Final = 2
# The table is taken as it is when it says within this what is measured.
_SETTLED: Final = 0.02
_MOST_MEASURED: Final = 32


@dataclass(frozen=True)
class VerifiedSearch:
    """A search whose winner was measured to fit.

    Attributes:
        result: What the last search found.
        finalists: All plans that were measured, the winner first.
        corrections: For each judge, the factor by which its table has to be multiplied to predict what was measured.
    """

    result: SearchResult
    finalists: tuple[Finalist, ...]
    corrections: tuple[float, ...]

    @property
    def winner(self) -> Finalist:
        """The plan of the highest score among those that were measured to fit."""
        return self.finalists[0]


def search_within_budget(
    search_slots: SearchFunction, judges: Sequence[Judge], n_trials: int, *, margin: float, tell: Callable[[str], None]
) -> VerifiedSearch:
    """Searches, measures the best few plans, and goes on until one of them fits.

    It goes on with more trials if the tables are off by more than a little, and for as long as no measured plan fits,
    up to four times in all: with half of `n_trials` more where a plan fits already, else with a quarter. It does not
    end while an evaluated plan is better than the winner, within the budget by the corrected tables, and not measured,
    unless 32 plans were measured already.

    Args:
        search_slots: Searches in the given slots, with corrected tables.
        judges: The devices, with their budgets and tables.
        n_trials: How many plans the first search evaluates.
        margin: The share of each budget that a winner has to leave unused.
        tell: Is told what is going on, a line at a time.

    Raises:
        BudgetUnreachableError: when in the end no plan fits.
    """
    before = corrections = tuple(1.0 for _ in judges)
    finalists: list[Finalist] = []
    seen: list[Candidate] = []
    result = search_slots(corrections, 0, n_trials)
    end, low = n_trials, 1.0
    for attempt in range(_CORRECTIONS + 1):
        seen += result.candidates
        group = _to_measure(result.candidates, finalists)
        shown = before
        while group:
            finalists += measure_finalists(group, judges, margin=margin, tell=tell)
            _tell_of_noise(finalists[-len(group) :], tell)
            shown = _corrections(finalists, judges, before)
            group = _to_measure(_within_reach(seen, judges, shown, margin), finalists) if winner_of(finalists) else []
            group = group[: max(0, _MOST_MEASURED - len(finalists))]
        off = max(abs(now / then - 1) for now, then in zip(shown, before, strict=True))
        winner = winner_of(finalists)
        settled = off <= _SETTLED or shown == before or attempt >= _CORRECTIONS_OF_A_WINNER
        if (winner is not None and settled) or not finalists or attempt == _CORRECTIONS:
            break
        # Where the tables say what is measured, and still nothing fits, noise decides: aim lower and lower.
        low, before = (low if off > _SETTLED else low * (1 + _SETTLED)), shown
        corrections = tuple(factor * low for factor in shown)
        if attempt == 0:
            _warn_of_tables(finalists, judges, shown, tell)
        took = (f"{judge.device} takes {by:.3f} of it" for judge, by in zip(judges, corrections, strict=True))
        tell(f"the table is corrected by what was measured ({', '.join(took)}): searching on")
        more = _share_of_trials(winner is not None, n_trials)
        try:
            result = search_slots(corrections, end, end + more)
            end += more
        except BudgetUnreachableError:
            if winner is None:
                raise
            break
    if not finalists:
        raise BudgetUnreachableError(f"nothing to measure was found ({result.stopped}): allow more trials or more time")
    if winner is None:
        raise _unreachable(finalists, judges)
    rest = [finalist for finalist in finalists if finalist is not winner]
    return VerifiedSearch(result, (winner, *rest), shown)


def _share_of_trials(has_winner: bool, n_trials: int) -> int:
    """How many more trials to search with: half of them where a plan fits already, for a corrected table may have
    made room for plans that were never looked at; else a quarter, to be repeated until a plan fits."""
    return max(1, n_trials // 2 if has_winner else n_trials // 4)


def _to_measure(candidates: Sequence[Candidate], finalists: Sequence[Finalist]) -> list[Candidate]:
    """The best candidates that were not measured yet and have a higher score than any plan known to fit."""
    known = {finalist.candidate.plan for finalist in finalists}
    winner = winner_of(finalists)
    better = {
        candidate.plan: candidate
        for candidate in sorted(candidates, key=lambda c: (-c.score, c.latency_ms))
        if candidate.plan not in known and (winner is None or candidate.score > winner.candidate.score)
    }
    return list(better.values())[:_AT_A_TIME]


def _within_reach(
    candidates: Sequence[Candidate], judges: Sequence[Judge], corrections: Sequence[float], margin: float
) -> list[Candidate]:
    """The candidates that are within every budget, less the margin, by the tables as they are corrected now."""
    return [
        candidate
        for candidate in candidates
        if all(
            judge.profile.latency_ms(candidate.plan) * correction <= judge.budget.tightened(margin).latency_ms
            for judge, correction in zip(judges, corrections, strict=True)
        )
    ]


def _corrections(
    finalists: Sequence[Finalist], judges: Sequence[Judge], before: tuple[float, ...]
) -> tuple[float, ...]:
    """The corrections that the finalists show, one for each table; as before where no reading on its device can be
    believed."""
    found = (correction_of(finalists, index) for index in range(len(judges)))
    return tuple(then if now is None else now for now, then in zip(found, before, strict=True))


def _warn_of_tables(
    finalists: Sequence[Finalist], judges: Sequence[Judge], shown: Sequence[float], tell: Callable[[str], None]
) -> None:
    for index, (judge, factor) in enumerate(zip(judges, shown, strict=True)):
        stated = judge.profile.relative_error
        if judge.time_plans is None or abs(factor - 1) <= max(stated, _SETTLED):
            continue
        slower = slowdown_of(finalists, judges, index)
        speed = "" if slower is None else f"; the machine's reference takes {slower:.3f} of what it took for the table"
        tell(
            f"warning: what {judge.device} takes is {factor - 1:+.1%} off its table, by every witness, where the "
            f"table says {stated:.1%} of itself{speed}"
        )


def _tell_of_noise(measured: Sequence[Finalist], tell: Callable[[str], None]) -> None:
    for finalist in measured:
        for verdict in finalist.verdicts:
            if verdict.answer == "undecided" and verdict.evidence is not None:
                tell(f"a plan of score {finalist.candidate.score:.4f} {_noise(verdict)}")


def _noise(verdict: OnDevice) -> str:
    measured = verdict.measured
    assert measured is not None, "there is no noise in what was not measured"
    took = f"takes {measured.latency_ms:.3f} ms on {verdict.device} ({measured.low_ms:.3f} to {measured.high_ms:.3f})"
    if verdict.straddles:
        return f"{took}: the noise straddles the budget, and a safer plan is taken"
    return f"{took}, which cannot be believed: {verdict.reason}"


def _unreachable(finalists: Sequence[Finalist], judges: Sequence[Judge]) -> BudgetUnreachableError:
    fastest = min(finalists, key=lambda finalist: finalist.verdicts[0].ratio)
    took = ", ".join(
        f"{verdict.measured.latency_ms:.3f} ms on {verdict.device} ({verdict.ratio:.3f} of the baseline)"
        for verdict in fastest.verdicts
        if verdict.measured is not None
    )
    budgets = ", ".join(f"{judge.budget.latency_ms:.3f} ms on {judge.device}" for judge in judges)
    return BudgetUnreachableError(
        f"none of the plans that fit {budgets} by the table, {len(finalists)} in all, fits when measured: the fastest "
        f"took {took}; profile again on a quiet machine"
    )
