"""Samplers that are given the gain of each cut, and ask the exact solver once."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from pruner.choices.plan import Plan
from search.feasible import solved_plan
from search.samplers.sampler import Proposals, Sampler
from search.space import Array, Cut, Space
from search.storage.ledger import Entry, Proposal


@dataclass(frozen=True)
class ByGains(Sampler):
    """Proposes the one plan within the limits whose cuts have the largest sum of gains.

    Cuts that no limit needs are taken back, the least gain first. A cut without a gain is not made unless no other plan
    is within the limits.

    Attributes:
        gains: Cut -> what it adds to the score.
        source: Where the gains are from: the `how` of the proposal.
    """

    gains: Mapping[Cut, float]
    source: str

    exhausted: ClassVar[str] = "the exact solver has one answer to gains that are known"

    def propose(self, space: Space, history: Sequence[Entry], count: int, n_trials: int, seed: int) -> Proposals:
        """Proposes the plan of the largest gain; nothing if it was evaluated already, or no plan is within the
        limits."""
        plan = solved_plan(space, _vector(space, self.gains))
        if plan is None:
            return Proposals(())
        gains = {block: self.gains.get((block, choice), -math.inf) for block, choice in plan.choices.items()}
        for block in sorted(gains, key=gains.__getitem__):
            # Back to being kept, and to nothing in between: what a gate wants dropped it may not want merged.
            more_kept = space.chain.plan({name: way for name, way in plan.choices.items() if name != block})
            plan = more_kept if space.admits(more_kept) else plan
        return _new(plan, history, self.source)


@dataclass(frozen=True)
class BySingleScores(Sampler):
    """Scores every cut alone, whatever its latency, and the uncut network; then proposes the plan of the largest sum
    of gains."""

    exhausted: ClassVar[str] = ByGains.exhausted

    def opening(self, space: Space, n_trials: int) -> int:
        """One plan for each cut alone, and the uncut one."""
        return len(space.cuts) + 1

    def propose(self, space: Space, history: Sequence[Entry], count: int, n_trials: int, seed: int) -> Proposals:
        """Proposes the cuts that were not scored alone; after these, the plan whose cuts lose the least in sum."""
        scores = {entry.plan: entry.score.value for entry in history if entry.score}
        singles = {cut: space.chain.plan(dict([cut])) for cut in space.cuts}
        missing = [plan for plan in (space.uncut, *singles.values()) if plan not in scores]
        if missing:
            return Proposals(tuple(Proposal(plan, "single") for plan in missing[:count]))
        gains = {cut: scores[plan] - scores[space.uncut] for cut, plan in singles.items()}
        return _new(solved_plan(space, _vector(space, gains)), history, "single scores")


def _vector(space: Space, gains: Mapping[Cut, float]) -> Array:
    """(cuts,) the gains; a cut without one gets a loss larger than all gains together."""
    never = -1 - 2 * sum(abs(gain) for gain in gains.values())
    return np.array([gains.get(cut, never) for cut in space.cuts])


def _new(plan: Plan | None, history: Sequence[Entry], how: str) -> Proposals:
    """The one plan, unless there is none or it was evaluated already."""
    known = {entry.plan for entry in history}
    return Proposals(() if plan is None or plan in known else (Proposal(plan, how),))
