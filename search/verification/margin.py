"""How far below its budget a winner has to measure: as far as one network differs from itself when it is loaded again.

Where its weights lie in memory decides what a network takes, for as long as it stays loaded. The network that is
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
    """The share of a budget that has to stay unused, from 1 to 3 %.

    The uncut network is loaded four times on each device and run in the same rounds. The margin is the largest
    difference from the median of these latencies, over all devices. Where nothing can be timed, the table decides, and
    the share that a search leaves by its table is enough.

    Args:
        judges: The devices.
        uncut: The plan of the uncut network.
        tell: Is told the margin, in words.
    """
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
