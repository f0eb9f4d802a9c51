"""Whether a budget is met: proven by every witness that there is, or said to be undecided."""

import time
from collections.abc import Callable, Collection, Sequence
from typing import Final

from latency.evidence import Evidence
from latency.timing import Timings
from search.verification.budget import Budget, Verdict

TimeNetworks = Callable[[Collection[str]], Timings]
"""Times the networks of these names, and the baseline beside them in the same rounds."""

_WAITS_S: Final = (2.0, 6.0)
"""How long to wait before what is undecided is timed again, so that what disturbed it may pass."""


def verdict_on(budget: Budget, evidence: Evidence) -> Verdict:
    """Whether the network of `evidence` meets the budget.

    It does when the upper end of its 95 % interval is within the budget, and does not when the lower end is above it,
    by every clock that is a witness. In between, and where the readings cannot be believed, the verdict is undecided.
    """
    doubts = doubts_about(budget, evidence)
    if doubts:
        return Verdict("undecided", "; ".join(doubts))
    low, high = _interval(budget, evidence)
    interval = f"{low:.3f} to {budget.text_of(high)} (95 % interval)"
    if high <= budget.bound:
        return Verdict("met", f"{interval} is within the budget")
    if low > budget.bound:
        return Verdict("not met", f"{interval} is above the budget")
    return Verdict("undecided", f"{interval} has the budget in it: noise would decide")


def verdict_by_table(budget: Budget, predicted_ms: float, device: str) -> Verdict:
    """What a table alone leaves of it, where the device is not here: only measuring can say whether a budget is met."""
    side = "within" if predicted_ms <= budget.latency_ms else "above"
    found = f"{predicted_ms:.3f} ms by the table is {side} the budget"
    return Verdict("undecided", f"{found}; {device} was not here: nothing was measured")


def doubts_about(budget: Budget, evidence: Evidence) -> tuple[str, ...]:
    """Why the figure that counts for the budget cannot be believed."""
    return evidence.doubts_in_ms if budget.ratio is None else evidence.doubts


def measured_figure(budget: Budget, evidence: Evidence) -> float:
    """What is held against the budget's bound: a share of the baseline, or milliseconds."""
    return evidence.network.latency_ms if budget.ratio is None else evidence.wall.value


def gather_evidence(
    networks: Sequence[str],
    baseline: str,
    budget: Budget,
    time_networks: TimeNetworks,
    *,
    again: Callable[[Evidence], bool],
    tell: Callable[[str], None],
    wait: Callable[[float], None] = time.sleep,
) -> dict[str, Evidence]:
    """Times networks beside the baseline, and those that have to be timed `again` twice more at the most, after a wait.

    Rounds that nothing speaks against are added to; rounds that cannot be believed are replaced.
    """
    timings = dict.fromkeys(networks, time_networks(networks))
    found = {name: Evidence.of(timings[name], name, baseline) for name in networks}
    for seconds in _WAITS_S:
        unsettled = [name for name in networks if again(found[name])]
        if not unsettled:
            break
        reason = verdict_on(budget, found[unsettled[0]]).reason
        tell(f"{len(unsettled)} of {len(networks)} networks to be measured again in {seconds:g} s: {reason}")
        wait(seconds)
        newest = time_networks(unsettled)
        for name in unsettled:
            timings[name] = newest if doubts_about(budget, found[name]) else timings[name].joined(newest)
            found[name] = Evidence.of(timings[name], name, baseline)
    return found


def _interval(budget: Budget, evidence: Evidence) -> tuple[float, float]:
    """The widest that the witnesses leave room for."""
    if budget.ratio is None:
        return evidence.network.low_ms, evidence.network.high_ms
    ratios = [ratio for ratio in (evidence.wall, evidence.processor) if ratio is not None]
    return min(ratio.low for ratio in ratios), max(ratio.high for ratio in ratios)
