"""Whether a budget is met: proven by every witness there is, or left undecided."""

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
    """Whether a measured network meets the budget.

    It does when the upper end of its 95 % interval is within the budget, and does not when the lower end is above it,
    by every clock that is a witness. In between, and where the readings cannot be believed, the verdict is undecided.

    Args:
        budget: What the network may take.
        evidence: The network as timed beside its baseline.
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
    """The verdict where the device is not here: undecided, with what the table predicts, for only measuring can
    decide."""
    side = "within" if predicted_ms <= budget.latency_ms else "above"
    found = f"{predicted_ms:.3f} ms by the table is {side} the budget"
    return Verdict("undecided", f"{found}; {device} was not here: nothing was measured")


def doubts_about(budget: Budget, evidence: Evidence) -> tuple[str, ...]:
    """Why the figure that the budget goes by cannot be believed, each reason a sentence; empty where it can."""
    return evidence.doubts_in_ms if budget.ratio is None else evidence.doubts


def measured_figure(budget: Budget, evidence: Evidence) -> float:
    """The measured figure that is compared with the budget's bound: a share of the baseline, or milliseconds."""
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
    """Times networks beside the baseline, and the unsettled ones up to twice more, each time after a wait.

    New rounds are added to rounds that can be believed, and replace those that cannot.

    Args:
        networks: The names of the networks.
        baseline: The name under which the timings hold the baseline.
        budget: What the networks may take.
        time_networks: Times networks by name, and the baseline with them.
        again: Whether a network has to be timed again, given its evidence.
        tell: Is told what is timed again, and why.
        wait: Lets that many seconds pass.

    Returns:
        Name -> the evidence for each network.
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
    """The 95 % interval of the figure that counts; by ratios, from the lowest to the highest end of all witnesses."""
    if budget.ratio is None:
        return evidence.network.low_ms, evidence.network.high_ms
    ratios = [ratio for ratio in (evidence.wall, evidence.processor) if ratio is not None]
    return min(ratio.low for ratio in ratios), max(ratio.high for ratio in ratios)
