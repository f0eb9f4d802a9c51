"""Samplers that learn nothing: random plans, and all plans one after another."""

import itertools
import math
from collections.abc import Sequence
from random import Random as Dice
from typing import Final

from search.errors import TooManyPlansError
from search.feasible import every_plan, feasible_plan, random_wish
from search.samplers.sampler import Proposals, Sampler, sampler
from search.space import Space
from search.storage.ledger import Entry, Proposal

_ATTEMPTS: Final = 100
_MOST_PLANS: Final = 2**20


@sampler
class Random(Sampler):
    """Proposes random plans without cuts that no limit needs."""

    name = "random"

    def propose(self, space: Space, history: Sequence[Entry], count: int, n_trials: int, seed: int) -> Proposals:
        """Proposes up to `count` new plans, drawn at random; fewer when hardly a new one is found."""
        dice, known = Dice(f"{seed} {len(history)}"), {entry.plan for entry in history}
        found: list[Proposal] = []
        for _ in range(_ATTEMPTS * count):
            if len(found) == count:
                break
            plan = feasible_plan(space, random_wish(space, dice), dice)
            if plan is not None and plan not in known:
                known.add(plan)
                found.append(Proposal(plan, self.name))
        return Proposals(tuple(found))


@sampler
class Exhaustive(Sampler):
    """Proposes every plan within the limits, for short chains; plans that begin alike follow one another."""

    name = "exhaustive"
    round_size = 64
    has_opinion = True

    def propose(self, space: Space, history: Sequence[Entry], count: int, n_trials: int, seed: int) -> Proposals:
        """Proposes the next `count` plans that were not evaluated.

        Raises `TooManyPlansError` where the space has more than a million plans.
        """
        if space.num_plans > _MOST_PLANS:
            raise TooManyPlansError(
                f"{space.chain.model} has {space.num_plans:.3g} plans, too many to try all: allow fewer with --keep "
                "or --choices, or take another --sampler"
            )
        known = {entry.plan for entry in history}
        plans = itertools.islice((plan for plan in every_plan(space) if plan not in known), count)
        proposals = tuple(Proposal(plan, self.name) for plan in plans)
        return Proposals(proposals, None if proposals else -math.inf)
