"""The sampler of a whole front: accuracy against latency, at many latencies from one study."""

import dataclasses
from collections.abc import Sequence
from random import Random
from typing import Final

import numpy as np

from search.feasible import fastest_plan
from search.limits import LatencyLimit, Limit
from search.samplers.learned import Chosen, fill, learned_from, propose_by
from search.samplers.sampler import Proposals, Sampler
from search.space import Space
from search.storage.ledger import Entry

_RUNGS: Final = 8


class Front(Sampler):
    """Asks what was learned for the best plans at each rung of a ladder of latencies, from the fastest plan's to the
    limit (the epsilon-constraint method): each rung is a search of its own, and all learn from all.

    It is no choice of `--sampler`, for what it seeks is not one plan.
    """

    name = "front"
    round_size = 2 * _RUNGS
    seeks_one = False

    def opening(self, space: Space, n_trials: int) -> int:
        return min(self.round_size, n_trials)

    def propose(self, space: Space, history: Sequence[Entry], count: int, n_trials: int, seed: int) -> Proposals:
        chosen, random = Chosen({entry.plan for entry in history}, count), Random(f"{seed} {len(history)}")
        surrogate = learned_from(space, history) if history else None
        if space.admits(space.uncut):
            chosen.add(space.uncut, "random")
        ladder = rungs(space)
        for place, rung in enumerate(ladder, start=1):
            chosen.count = len(chosen.proposals) + (count - len(chosen.proposals)) // (_RUNGS + 1 - place)
            if surrogate is None:
                fill(rung, chosen, random)
            else:
                propose_by(surrogate, rung, history, chosen, random)
        chosen.count = count
        # Anywhere on the ladder: where nothing has to be cut, chance finds the uncut network alone.
        fill(space, chosen, random, within=ladder)
        return Proposals(tuple(chosen.proposals))


def rungs(space: Space) -> list[Space]:
    """The space under latencies that rise by equal ratios, from just above the fastest plan's to its own limit."""
    fastest = fastest_plan(space)
    limit = space.limits[0]
    assert fastest is not None, "some plan was found to be within the limits"
    assert isinstance(limit, LatencyLimit), "the first limit is on latency"
    bounds = np.geomspace(max(limit.amount(fastest), 1e-6 * limit.bound), limit.bound, _RUNGS + 1)[1:]
    return [space.within([_at_most(one, limit, float(bound)) for one in space.limits]) for bound in bounds]


def _at_most(one: Limit, first: LatencyLimit, bound: float) -> Limit:
    """A limit with that bound if it is on the same table's latency as the first, which may be two sums."""
    if isinstance(one, LatencyLimit) and one.profile.setting == first.profile.setting and one.bound == first.bound:
        return dataclasses.replace(one, bound=bound)
    return one
