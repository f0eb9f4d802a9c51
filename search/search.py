"""The search for the best plan within the limits: samplers propose plans, a ledger has each evaluated once.

Plans are proposed in rounds (`search/proposing.py`). The plans of a round follow from the seed and from the scores
before it alone. So a search evaluates the same plans and finds the same winner with one worker or eight, stopped and
resumed or not.
"""

import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from pruner.choices.plan import Plan
from pruner.progress import Progress, silent
from pruner.scoring.score import Score
from search.candidate import Candidate, SearchResult
from search.errors import ScoreError
from search.feasible import check_reachable
from search.proposing import Rounds, gap_of
from search.samplers.sampler import Sampler
from search.space import Space
from search.storage.ledger import Entry, Ledger
from search.storage.scores import check_count, score_of

Evaluate = Callable[[Sequence[Plan], float], Sequence[Score | float]]
"""(plans, bar) -> the scores of the plans. A plan whose score cannot reach `bar` need not be evaluated to the end."""

_BEAT_SHARE: Final = 1 / 6
PAUSE_S: Final = 0.1


@dataclass(frozen=True)
class Stop:
    """When a search ends.

    Raises `ValueError` for fewer than one plan, and for a gap or a time that is not a number.

    Attributes:
        n_trials: How many plans are evaluated at the most.
        gap: The search ends when no plan is expected to be better than the best by more than this share of its score.
        timeout_s: After how many seconds the search ends; None for no limit of time.
    """

    n_trials: int
    gap: float = 0.0
    timeout_s: float | None = None

    def __post_init__(self) -> None:
        if self.n_trials < 1:
            raise ValueError(f"a search of {self.n_trials} plans finds nothing: allow at least one")
        if math.isnan(self.gap):
            raise ValueError("the gap to stop at is nan: give a share of the best score, such as 0.01, or 0")
        if self.timeout_s is not None and not self.timeout_s >= 0:
            raise ValueError(f"the time for a search is {self.timeout_s}: give seconds, or None for no end")


def search(
    space: Space,
    *,
    evaluate: Evaluate,
    ledger: Ledger,
    sampler: Sampler,
    stop: Stop,
    first: int = 0,
    peers: int = 1,
    seed: int = 0,
    progress: Progress = silent,
) -> SearchResult:
    """Evaluates plans in rounds until the search ends, and returns every plan that was evaluated.

    Other processes may work on the same study at the same time. The sampler learns from whatever else stands in the
    study; none of that is evaluated again.

    Args:
        space: The plans that may be proposed. The first of its limits has to be on latency.
        evaluate: (plans, bar) -> one score for each plan, in their order; higher is better.
        ledger: The study, in whose slots the plans are kept.
        sampler: What proposes the plans.
        stop: When the search ends.
        first: The first slot to fill; the last is `stop.n_trials - 1`.
        peers: How many processes share the plans of a round.
        seed: What the sampler's random numbers follow from.
        progress: Is told how many plans have scores, of how many, and the best score so far.

    Returns:
        The plans within the limits and the others, best first, with the gap that is left and why the search ended.

    Raises:
        BudgetUnreachableError: when no plan is within the limits.
        ScoreError: when an evaluation returns what is not a score.

    Example:
        >>> from depthfinder.testing.samples import chain_and_table
        >>> from search.limits import latency_limits_by
        >>> from search.samplers import known_sampler
        >>> from search.storage.ledger import Ledger, in_memory
        >>> chain, table = chain_and_table()
        >>> space = Space.of(chain, latency_limits_by(table, 0.7 * table.uncut_ms))
        >>> result = search(
        ...     space,
        ...     evaluate=lambda plans, bar: [-len(plan.choices) for plan in plans],  # the fewer cuts, the better
        ...     ledger=Ledger(in_memory(), "example", {"model": chain.model}),
        ...     sampler=known_sampler("auto"),
        ...     stop=Stop(n_trials=12),
        ... )
        >>> result.num_evaluations
        12
        >>> result.best.score, result.best.latency_ms <= 0.7 * table.uncut_ms
        (-3.0, True)
    """
    check_reachable(space)
    deadline = math.inf if stop.timeout_s is None else time.monotonic() + stop.timeout_s
    rounds = Rounds(space, ledger, sampler, stop.n_trials, seed)
    worker = _Worker(space, evaluate, ledger, peers, deadline, stop.n_trials, progress)
    why = "there were to be no more"
    if not rounds.are_done(first) and not worker.settle(rounds.origin):
        why = "the time is up"
    else:
        for number, slots in enumerate(rounds.slots(first), start=first):
            ended = _carry_out(rounds, worker, number, slots, stop.gap)
            if ended is not None:
                why = ended
                break
    entries = rounds.found()
    gap = gap_of(space, entries, rounds.proposed(entries, 1)) if sampler.has_opinion else None
    return _result(space, entries, gap, why)


def _carry_out(rounds: Rounds, worker: "_Worker", number: int, slots: Sequence[int], gap: float) -> str | None:
    """Carries out one round; returns why the search ends with it, or None if it goes on."""
    while not rounds.is_done(slots):
        plans = rounds.plans(number, slots)
        if plans.gap is not None and plans.entries and plans.gap <= gap:
            return f"no plan left is held to be better by more than {plans.gap:.2%}"
        ended = worker.carry_out(plans.entries, plans.slots)
        if ended is _Ended.LATE:
            worker.ledger.withdraw()
            return "the time is up"
        if ended is _Ended.DONE and len(plans.slots) < len(slots):
            return rounds.sampler.exhausted
    return None


def evaluate_a_share(ledger: Ledger, evaluate: Evaluate, peers: int) -> bool:
    """Evaluates this process's share of the plans that wait in the ledger.

    Args:
        ledger: The study.
        evaluate: (plans, bar) -> one score for each plan.
        peers: How many processes share what waits.

    Returns:
        Whether any plan waited and was evaluated.

    Raises:
        ScoreError: when an evaluation returns what is not a score; the scores beside it are entered first.
    """
    claimed = ledger.claim(peers)
    plans = [entry.plan for entry in claimed]
    faults: list[ScoreError] = []
    try:
        with _alive(ledger):
            found = evaluate(plans, claimed[0].bar) if claimed else []
        check_count(plans, found)
        for entry, one in zip(claimed, found, strict=True):
            try:
                ledger.complete(entry, score_of(entry.plan, one))
            except ScoreError as fault:
                faults.append(fault)
    finally:
        ledger.release()
    if faults:
        raise faults[0]
    return bool(claimed)


class _Ended(Enum):
    """How work on some slots ended: `OVERTAKEN` when somebody planned one of the same plans for another slot."""

    DONE = auto()
    LATE = auto()
    OVERTAKEN = auto()


@dataclass(frozen=True)
class _Worker:
    """Works through the plans of a round, together with any other processes on the same study."""

    space: Space
    evaluate: Evaluate
    ledger: Ledger
    peers: int
    deadline: float
    total: int
    progress: Progress

    def settle(self, origin: str) -> bool:
        """Empties the slots that other rules proposed plans for, whose limits may no longer hold, and waits for the
        plans that are being evaluated; returns False if time is up before that."""
        self.ledger.withdraw(but_for=origin)
        awaited = self.ledger.under_way(origin)
        while awaited & self.ledger.under_way(origin):
            if time.monotonic() > self.deadline:
                return False
            self.ledger.recover()
            time.sleep(PAUSE_S)
        return True

    def carry_out(self, entries: Sequence[Entry], slots: Set[int]) -> _Ended:
        """Evaluates the plans that nobody else does, and waits for the others, until all `slots` have scores."""
        while True:
            standing = self.ledger.standing()
            there = {entry.slot: entry for entry in standing.here if entry.slot in slots}
            if len(there) == len(slots) and all(entry.score for entry in there.values()):
                return _Ended.DONE
            if time.monotonic() > self.deadline:
                return _Ended.LATE
            free = [entry for entry in entries if entry.slot not in there]
            if {entry.plan for entry in free} & {entry.plan for entry in (*standing.here, *standing.elsewhere)}:
                return _Ended.OVERTAKEN
            self.ledger.plan(self.space, free)
            if not evaluate_a_share(self.ledger, self.evaluate, self.peers):
                self.ledger.recover()
                time.sleep(PAUSE_S)
            self._tell()

    def _tell(self) -> None:
        scored = [e for e in self.ledger.entries() if e.score and e.slot < self.total]
        best = max((e.score.value for e in scored if e.score and self.space.admits(e.plan)), default=None)
        self.progress(len(scored), self.total, "learning" if best is None else f"best {best:.4f}")


def _result(space: Space, entries: Sequence[Entry], gap: float | None, why: str) -> SearchResult:
    found = [
        Candidate(
            entry.plan,
            entry.score.value,
            space.limits[0].amount(entry.plan),
            space.admits(entry.plan),
            entry.slot,
            entry.proposal.how,
            entry.score,
        )
        for entry in entries
        if entry.score
    ]
    best_first = sorted(found, key=lambda c: (-c.score, c.latency_ms, c.plan.to_json()))
    within, others = (tuple(c for c in best_first if c.fits is fits) for fits in (True, False))
    return SearchResult(within, others, gap, why)


@contextmanager
def _alive(ledger: Ledger) -> Iterator[None]:
    """Gives signs of life while plans are evaluated."""
    if ledger.patience_s == 0:
        yield  # nobody else looks
        return
    done = threading.Event()

    def beat() -> None:
        while not done.wait(ledger.patience_s * _BEAT_SHARE):
            ledger.beat()

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
