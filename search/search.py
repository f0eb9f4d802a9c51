"""The search for the best plan within the limits: samplers propose, a ledger sees that each plan is evaluated once.

Plans are proposed in rounds. What a round proposes follows from the seed and the scores of the rounds before it alone:
one worker or eight, stopped and taken up again or not, evaluate the same plans and find the same winner.
"""

import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final

from pruner.plan import Plan
from pruner.progress import Progress, silent
from pruner.score import Score
from search.candidate import Candidate, SearchResult
from search.feasible import check_reachable
from search.ledger import Entry, Ledger
from search.sampler import Proposals, Sampler
from search.scores import ScoreError, check_count, score_of
from search.space import Space

Evaluate = Callable[[Sequence[Plan], float], Sequence[Score | float]]
"""(plans, bar) -> their scores; a plan that cannot reach the bar need not be evaluated to the end."""

_FINALISTS: Final = 8
"""A plan that cannot come among so many of the best is not evaluated to the end."""
_BEAT_SHARE: Final = 1 / 6
PAUSE_S: Final = 0.1


@dataclass(frozen=True)
class Stop:
    """When a search ends: after `n_trials` plans, or before that when the gap is `gap` or `timeout_s` have passed.

    Raises `ValueError` for fewer than one plan, and for a gap or a time that is no number.
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
    """Evaluates plans in the slots of `ledger` from `first` up to `stop.n_trials`, with whoever else does; what stands
    in the slots before is learned from.

    Of each round a process claims its share among `peers`. The first of the space's limits has to be on latency.

    Raises `BudgetUnreachableError` when no plan is within the limits.
    """
    check_reachable(space)
    deadline = math.inf if stop.timeout_s is None else time.monotonic() + stop.timeout_s
    worker = _Worker(space, evaluate, ledger, peers, deadline, stop.n_trials, progress)
    why = f"{stop.n_trials} plans were evaluated"
    for number, slots in enumerate(_rounds(space, sampler, first, stop.n_trials), start=first):
        before = _scored(ledger, slots.start)
        planned = _scored(ledger, slots.stop)[len(before) :]
        if len(planned) == len(slots):
            continue
        found = sampler.propose(space, _for_learning(before), len(slots), stop.n_trials, seed)
        gap = _gap(space, before, found)
        if gap is not None and found.proposals and gap <= stop.gap:
            why = f"no plan left is held to be better by more than {gap:.2%}"
            break
        bar = _bar(space, before) if sampler.seeks_one else -math.inf
        entries = [
            Entry(slot, number, proposal, space.limits[0].amount(proposal.plan), bar)
            for slot, proposal in zip(slots, found.proposals, strict=False)
        ]
        if not worker.carry_out(entries):
            ledger.withdraw()
            why = "the time is up"
            break
        if len(entries) < len(slots):
            why = sampler.exhausted
            break
    entries = _scored(ledger, stop.n_trials)
    gap = None
    if sampler.has_opinion:
        gap = _gap(space, entries, sampler.propose(space, _for_learning(entries), 1, stop.n_trials, seed))
    return _result(space, entries, gap, why)


def evaluate_a_share(ledger: Ledger, evaluate: Evaluate, peers: int) -> bool:
    """Evaluates a share of what waits in the ledger; False when nothing does.

    Raises `ScoreError` for what is no score, once the scores beside it are entered.
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


@dataclass(frozen=True)
class _Worker:
    """Works through a round with whoever else does."""

    space: Space
    evaluate: Evaluate
    ledger: Ledger
    peers: int
    deadline: float
    total: int
    progress: Progress

    def carry_out(self, entries: Sequence[Entry]) -> bool:
        """Evaluates what nobody else does, and waits for the others, until all `entries` have scores; False if time is
        up before that."""
        slots = {entry.slot for entry in entries}
        while True:
            there = {entry.slot: entry for entry in self.ledger.entries() if entry.slot in slots}
            if len(there) == len(slots) and all(entry.score for entry in there.values()):
                return True
            if time.monotonic() > self.deadline:
                return False
            self.ledger.plan(self.space, [entry for entry in entries if entry.slot not in there])
            if not evaluate_a_share(self.ledger, self.evaluate, self.peers):
                self.ledger.recover()
                time.sleep(PAUSE_S)
            self._tell()

    def _tell(self) -> None:
        scored = _scored(self.ledger, self.total)
        best = max((e.score.value for e in scored if e.score and self.space.admits(e.plan)), default=None)
        self.progress(len(scored), self.total, "learning" if best is None else f"best {best:.4f}")


def _rounds(space: Space, sampler: Sampler, first: int, stop: int) -> Iterator[range]:
    """The slots of each round."""
    while first < stop:
        size = sampler.opening(space, stop) if first == 0 else sampler.round_size
        yield range(first, min(first + size, stop))
        first += size


def _scored(ledger: Ledger, stop: int) -> list[Entry]:
    """What was evaluated in the slots before `stop`, in their order."""
    return [entry for entry in ledger.entries() if entry.slot < stop and entry.score is not None]


def _for_learning(entries: Sequence[Entry]) -> list[Entry]:
    """The same with the plans that failed at the lowest score that another has: samplers reckon with numbers."""
    finite = [entry.score.value for entry in entries if entry.score and math.isfinite(entry.score.value)]
    lowest = min(finite, default=0.0)
    return [
        replace(entry, score=replace(entry.score, value=lowest))
        if entry.score and entry.score.value < lowest
        else entry
        for entry in entries
    ]


def _bar(space: Space, entries: Sequence[Entry]) -> float:
    """The score that a plan has to reach to be among the best."""
    scores = sorted((e.score.value for e in entries if e.score and space.admits(e.plan)), reverse=True)
    return scores[_FINALISTS - 1] if len(scores) >= _FINALISTS else -math.inf


def _gap(space: Space, entries: Sequence[Entry], found: Proposals) -> float | None:
    """How much better than the best, as a share of it, a plan may be; None when there is no telling."""
    scores = [entry.score.value for entry in entries if entry.score and space.admits(entry.plan)]
    if not scores or not max(scores) or math.isinf(max(scores)):
        return None
    return None if found.attainable is None else max(0.0, (found.attainable - max(scores)) / abs(max(scores)))


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
