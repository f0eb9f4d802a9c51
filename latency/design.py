"""Chooses the whole networks to measure, so that every choice of every kind of block stands in some of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from latency.pieces import THINNING, VANISHING, places_of
from latency.study import RowKey
from profiles.profile import Segment
from profiles.walk import rows_of, unthinned
from pruner.choices.chain import Chain
from pruner.choices.choice import KEEP, THIN
from pruner.choices.plan import Plan

_SHARES_CUT: Final = (0.15, 0.3, 0.45, 0.6, 0.75, 0.9)
_MOST_DRAWS: Final = 400
_FEWEST_PLACES: Final = 3
_MOST_JUDGES: Final = 2  # one in two networks at the most


@dataclass(frozen=True)
class Designed:
    """The plans of the whole networks to measure.

    Attributes:
        fitted: The plans whose networks the costs are fitted to, the uncut network first.
        held_out: The plans whose networks judge the fit.
    """

    fitted: tuple[Plan, ...]
    held_out: tuple[Plan, ...]


def designed_plans(chain: Chain, fitted: int, held_out: int, seed: int) -> Designed:
    """Draws the plans whose networks are measured: the uncut network, then random plans.

    The random plans cut from 15 to 90 % of the blocks, at places drawn at random. They are then changed so that every
    choice of every kind of block stands in some of the fitted networks. A short chain may have fewer plans than are
    asked for; at most half of them judge.

    A fit can tell two choices apart only where their counts differ from network to network. Random plans that cut
    different shares give every choice many counts, with hardly any correlation between choices.

    Args:
        chain: The blocks of the model.
        fitted: How many networks to fit.
        held_out: How many networks judge the fit.
        seed: Seed of the plans.
    """
    random = Random(seed)
    plans = [chain.plan({})]
    for draw in range(_MOST_DRAWS):
        plan = chain.random_plan(_SHARES_CUT[draw % len(_SHARES_CUT)], random)
        if plan not in plans:
            plans.append(plan)
        if len(plans) == fitted + held_out:
            break
    judges = min(held_out, len(plans) // _MOST_JUDGES)
    fits, judging = plans[: len(plans) - judges], tuple(plans[len(plans) - judges :])
    return Designed(_covering(chain, fits, judging, random), judging)


def _covering(chain: Chain, plans: Sequence[Plan], taken: Sequence[Plan], random: Random) -> tuple[Plan, ...]:
    """Changes plans until every choice of every kind of block stands often enough in them; none becomes equal to one of
    `taken`."""
    covered = list(plans)
    segments = [Segment(block.name, block.signature, is_block=True) for block in chain.blocks]
    for what, count in places_of(chain, segments).items():
        if what[1] == KEEP:
            continue
        for _ in range(_FEWEST_PLACES):
            if _stands(segments, covered, what) >= min(_FEWEST_PLACES, count * (len(covered) - 1)):
                break
            where = random.randrange(1, len(covered)) if len(covered) > 1 else 0
            changed = _changed(chain, covered[where], what, random)
            if where and changed not in (*covered, *taken):
                covered[where] = changed
    return tuple(covered)


def _changed(chain: Chain, plan: Plan, what: RowKey, random: Random) -> Plan:
    """The plan, changed so that its network has the row `what` at a place drawn at random."""
    signature, choice = what[0], unthinned(what[1])
    offering = [block.name for block in chain.blocks if block.signature == signature]
    choices = dict(plan.choices)
    if choice == THIN or choice != what[1]:
        choices = {block: other for block, other in choices.items() if other not in THINNING}
    if choice != what[1]:
        first = chain.thinning[0]
        choices[first] = THIN
        names = [block.name for block in chain.blocks]
        offering = [name for name in offering if names.index(name) > names.index(first)]
    return chain.plan({**choices, random.choice(offering): choice})


def _stands(segments: Sequence[Segment], plans: Sequence[Plan], what: RowKey) -> int:
    """Counts the places of the plans' networks at which the row `what` stands."""
    signatures = {segment.name: segment.signature for segment in segments}
    rows = (row for plan in plans for row in rows_of(segments, plan, VANISHING, THINNING))
    return sum((signatures[name], row) == what for name, row in rows)
