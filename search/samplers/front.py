"""The sampler of a whole Pareto front: the best plans at many latencies, from one study."""

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
    """Proposes the best plans, by what was learned, at each of eight latencies from the fastest plan's up to the limit.

    This is the epsilon-constraint method: each latency is a search of its own, and all learn from all. It is not
    offered as `--sampler`, for it does not look for one plan.
    """

    name = "front"
    round_size = 2 * _RUNGS
    seeks_one = False

    def opening(self, space: Space, n_trials: int) -> int:
        """Two plans for each latency, and no more than `n_trials`."""
        return min(self.round_size, n_trials)

    def propose(self, space: Space, history: Sequence[Entry], count: int, n_trials: int, seed: int) -> Proposals:
        """Shares `count` plans out to the latencies; those that are left over are drawn at random, each within one
        of them."""
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
        # Within any rung: where nothing has to be cut, random plans come to the uncut network alone.
        fill(space, chosen, random, within=ladder)
        return Proposals(tuple(chosen.proposals))


def rungs(space: Space) -> list[Space]:
    """The space under eight limits on latency, in equal ratios from just above the fastest plan's latency to the
    space's own limit."""
    fastest = fastest_plan(space)
    limit = space.limits[0]
    assert fastest is not None, "some plan was found to be within the limits"
    assert isinstance(limit, LatencyLimit), "the first limit is on latency"
    bounds = np.geomspace(max(limit.amount(fastest), 1e-6 * limit.bound), limit.bound, _RUNGS + 1)[1:]
    return [space.within([_at_most(one, limit, float(bound)) for one in space.limits]) for bound in bounds]


def _at_most(one: Limit, first: LatencyLimit, bound: float) -> Limit:
    """The limit, with the given bound if it is on the same latency as the first one; that latency may be two sums,
    with a limit each."""
    if isinstance(one, LatencyLimit) and one.profile.setting == first.profile.setting and one.bound == first.bound:
        return dataclasses.replace(one, bound=bound)
    return one
