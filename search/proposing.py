"""The rounds of a search: which slots each has, and which plans are proposed for them.

A study may hold more than the rounds of this search: plans that were evaluated under other limits, with fewer
trials, or under another budget. All rounds know what was evaluated before the first search by the same rules began,
wherever in the study it stands. What others add later, by other rules, is left aside unless they took a plan that
would be proposed here: then it is learned from as well, and that plan is not evaluated again. So a search that is
resumed alone proposes what it would have proposed without the interruption.
"""

import hashlib
import math
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

from search.samplers.sampler import Proposals, Sampler
from search.space import Space
from search.storage.ledger import Entry, Ledger, Standing

_FINALISTS: Final = 8
"""A plan that cannot be among this many of the best is not evaluated to the end."""


@dataclass(frozen=True)
class Planned:
    """The plans of one round.

    Attributes:
        entries: The plans with their slots.
        slots: The slots that have or get a plan; fewer than the round has when hardly a plan is left.
        gap: How much better than the best so far a plan may be, as a share of the best score; None when it is not
            known.
    """

    entries: Sequence[Entry]
    slots: Set[int]
    gap: float | None


@dataclass(frozen=True)
class Rounds:
    """The rounds of a search for `n_trials` plans in the slots of a ledger.

    Attributes:
        space: The plans that may be proposed.
        ledger: The study.
        sampler: What proposes the plans.
        n_trials: How many slots the search has, with those before its first.
        seed: What the sampler's random numbers follow from.
    """

    space: Space
    ledger: Ledger
    sampler: Sampler
    n_trials: int
    seed: int

    @cached_property
    def origin(self) -> str:
        """An identifier of the rules of this search: a digest of the sampler's class, the number of plans, the seed,
        the choices and the limits."""
        space = self.space
        limits = [(limit.text, limit.bound) for limit in space.limits]
        rules = (type(self.sampler).__name__, self.n_trials, self.seed, dict(space.choices), limits)
        amounts = space.savings.tobytes() + space.needed.tobytes()
        return hashlib.sha256(repr(rules).encode() + amounts).hexdigest()[:12]

    def are_done(self, first: int) -> bool:
        """Whether every slot from `first` on has a score."""
        return self.is_done(range(first, self.n_trials))

    def is_done(self, slots: Sequence[int]) -> bool:
        """Whether all these slots have scores."""
        return set(slots) <= {entry.slot for entry in self.ledger.entries() if entry.score}

    def slots(self, first: int) -> Iterator[list[int]]:
        """Yields the slots of each round, from `first` on, without those that were taken before this search began."""
        standing = self.ledger.standing()
        before = self._before(standing)
        taken = {entry.slot for entry in standing.here if entry.number in before}
        free = [slot for slot in range(first, self.n_trials) if slot not in taken]
        opening = self.sampler.opening(self.space, self.n_trials) - len(before) if first == 0 else 0
        size = opening if opening > 0 else self.sampler.size_behind(first)
        while free:
            yield free[:size]
            behind, free = free[min(size, len(free)) - 1] + 1, free[size:]
            size = self.sampler.size_behind(behind)

    def plans(self, number: int, slots: Sequence[int]) -> Planned:
        """The plans for one round; slots that hold a plan already are proposed for as well.

        Args:
            number: The number of the round, which its entries carry.
            slots: The slots of the round.
        """
        history = self._known(self.ledger.standing(), slots[0])
        found = self.proposed(history, len(slots))
        standing = self.ledger.standing()  # again: proposing may take a while
        filled = {entry.slot for entry in standing.here}
        places: dict[object, int | None] = {entry.plan: None for entry in standing.elsewhere}
        places |= {entry.plan: entry.slot for entry in standing.here}
        pairs = list(zip(slots, found.proposals, strict=False))
        if any(slot not in filled and places.get(one.plan, slot) != slot for slot, one in pairs):
            # Somebody searches by other rules at the same time: what they have found is learned from as well.
            free = [slot for slot in slots if slot not in filled]
            open_plans = [entry for entry in (*standing.here, *standing.elsewhere) if not entry.score]
            history = standing.scored
            found = self.proposed(history, len(free) + len(open_plans))
            new = [one for one in found.proposals if one.plan not in places]
            pairs = list(zip(free, new, strict=False))
        bar = _bar(self.space, history) if self.sampler.seeks_one else -math.inf
        entries = [
            Entry(slot, number, one, self.space.limits[0].amount(one.plan), bar, origin=self.origin)
            for slot, one in pairs
        ]
        filling = {entry.slot for entry in entries} | (filled & set(slots))
        return Planned(entries, filling, gap_of(self.space, history, found))

    def proposed(self, history: Sequence[Entry], count: int) -> Proposals:
        """Up to `count` plans that the sampler proposes after the scored entries of `history`."""
        return self.sampler.propose(self.space, _for_learning(history), count, self.n_trials, self.seed)

    def found(self) -> list[Entry]:
        """All that was evaluated in the study: in its other parts, before the search, and in its slots. Each entry
        has a slot of its own."""
        standing = self.ledger.standing()
        beyond = max((self.n_trials - 1, *(entry.slot for entry in standing.here))) + 1
        strangers = [entry for entry in standing.elsewhere if entry.score]
        moved = [replace(entry, slot=beyond + place) for place, entry in enumerate(strangers)]
        others = {entry.number for entry in strangers}
        return [*moved, *(entry for entry in self._known(standing, self.n_trials) if entry.number not in others)]

    def _before(self, standing: Standing) -> set[int]:
        """The numbers of what was evaluated before this search began."""
        began = self.ledger.began(self.origin)
        return {entry.number for entry in standing.scored if entry.number < began and entry.origin != self.origin}

    def _known(self, standing: Standing, slot: int) -> list[Entry]:
        """The entries that were evaluated before this search began, and those in the slots before this one."""
        known = self._before(standing) | {entry.number for entry in standing.here if entry.slot < slot}
        return [entry for entry in standing.scored if entry.number in known]


def gap_of(space: Space, entries: Sequence[Entry], found: Proposals) -> float | None:
    """How much better than the best a plan may be, as a share of the best score.

    Args:
        space: The plans that may be the best.
        entries: What was evaluated.
        found: What the sampler proposed, with the score that it holds attainable.

    Returns:
        The gap, at least 0; None where no plan has a score to compare with, or the sampler says nothing.
    """
    scores = [entry.score.value for entry in entries if entry.score and space.admits(entry.plan)]
    if not scores or not max(scores) or math.isinf(max(scores)):
        return None
    return None if found.attainable is None else max(0.0, (found.attainable - max(scores)) / abs(max(scores)))


def _bar(space: Space, entries: Sequence[Entry]) -> float:
    """The score that a plan has to reach to be among the best."""
    scores = sorted((e.score.value for e in entries if e.score and space.admits(e.plan)), reverse=True)
    return scores[_FINALISTS - 1] if len(scores) >= _FINALISTS else -math.inf


def _for_learning(entries: Sequence[Entry]) -> list[Entry]:
    """The entries for a sampler, which needs finite numbers: a plan that failed gets the lowest score of any other
    plan."""
    finite = [entry.score.value for entry in entries if entry.score and math.isfinite(entry.score.value)]
    lowest = min(finite, default=0.0)
    return [
        replace(entry, score=replace(entry.score, value=lowest))
        if entry.score and entry.score.value < lowest
        else entry
        for entry in entries
    ]
