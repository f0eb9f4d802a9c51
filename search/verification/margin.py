"""How far below its budget a winner has to be: as far as the same network differs from itself when it is loaded anew.

Where weights happen to lie in memory decides what a network takes, for as long as it stays loaded. The network that is
handed over will be loaded by others.
"""

import statistics
from collections.abc import Callable, Sequence
from typing import Final

from pruner.choices.plan import Plan
from search.verification.finalists import Judge

AIMED_BELOW: Final = 0.015
"""The share of a budget that a search leaves by its table, before anything was measured."""

_LEAST, _MOST = 0.01, 0.03
_TIMES_LOADED: Final = 4


def margin_on(judges: Sequence[Judge], uncut: Plan, tell: Callable[[str], None]) -> float:
    """The share of a budget that stays unused: the largest over the devices of how far the uncut network, loaded four
    times and run in the same rounds, is from its own median, and 1 to 3 %. `uncut` is its plan. Where nothing can be
    timed the table has the last word, and what it leaves is enough."""
    found = [_spread(judge, uncut) for judge in judges if judge.time_plans is not None]
    if not found:
        return AIMED_BELOW
    margin = min(_MOST, max(_LEAST, *found))
    tell(
        f"the uncut network, loaded {_TIMES_LOADED} times, differs from itself by {max(found):.1%}: "
        f"the winner is to be {margin:.1%} below its budget"
    )
    return margin


def _spread(judge: Judge, uncut: Plan) -> float:
    assert judge.time_plans is not None, "only what is here is loaded"
    names = [f"load {number}" for number in range(_TIMES_LOADED)]
    timings = judge.time_plans(dict.fromkeys(names, uncut))
    taken = [timings.measurement(name).latency_ms for name in names]
    median = statistics.median(taken)
    return max(abs(one / median - 1) for one in taken)
