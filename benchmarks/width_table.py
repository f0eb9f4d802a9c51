"""The table of `benchmarks/width.py`, from what that study wrote down."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any, Final

from narrowing import PARTS, WAYS, Way
from small_networks import NETWORKS

from pruner.plan import Plan

ARMS: Final = ("width", "depth")


def lines_of(record: Mapping[str, Any]) -> list[str]:
    """The whole of `width.md`."""
    return [*rows(record), "", note(record)]


def rows(record: Mapping[str, Any]) -> list[str]:
    """The table: two rows to a budget, the second of which says who is ahead."""
    head = ("network", "budget", "arm", "how", "when chosen", "at the end (95 %)", "parameters", "M MACs")
    found = [f"| {' | '.join(head)} | accuracy, % | ahead |", "|" + " --- |" * (len(head) + 2)]
    for family, whole in record["baselines"].items():
        cells = f"{whole['parameters']:,} | {whole['macs'] / 1e6:.2f} | {100 * whole['accuracy']:.2f}"
        found.append(f"| {NETWORKS[family].entry} | | as it was | | 1 | 1 | {cells} | |")
        for place in (one for one in record["places"] if one["family"] == family):
            of_arm = {arm: [job for job in record["jobs"] if _is_of(job, place, arm)] for arm in ARMS}
            found += [_row(place, arm, of_arm) for arm in ARMS]
    return found


def _is_of(job: Mapping[str, Any], place: Mapping[str, Any], arm: str) -> bool:
    return (job["family"], job["budget"], job["arm"]) == (place["family"], place["budget"], arm)


def _row(place: Mapping[str, Any], arm: str, of_arm: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    start = f"| {NETWORKS[place['family']].entry} | {place['budget']} | {arm} |"
    chosen, jobs = place[arm], of_arm[arm]
    if not jobs:
        return f"{start} nothing fits |" + " |" * 6
    ratio = "{value:.3f} ({low:.3f} to {high:.3f})".format(**place["measured"][arm])
    mean, spread = _mean_and_spread(jobs)
    cells = (_how(chosen, arm), f"{chosen['ratio']:.3f}", ratio, f"{jobs[0]['parameters']:,}")
    figures = (f"{jobs[0]['macs'] / 1e6:.2f}", f"{mean:.2f} ± {spread:.2f}", ahead(of_arm) if arm == ARMS[-1] else "")
    return f"{start} {' | '.join((*cells, *figures))} |"


def _how(chosen: Mapping[str, Any], arm: str) -> str:
    if arm == "width":
        return f"{chosen['part'] / PARTS:.2f}, {Way(**chosen['way']).text}"
    choices = list(Plan.from_json(chosen["plan"]).choices.values())
    return ", ".join(f"{choices.count(choice)} {choice}" for choice in sorted(set(choices)))


def _mean_and_spread(jobs: Sequence[Mapping[str, Any]]) -> tuple[float, float]:
    found = [100 * job["accuracy"] for job in jobs]
    return statistics.mean(found), statistics.stdev(found) if len(found) > 1 else 0.0


def ahead(of_arm: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """The arm whose mean is the higher by more than both standard deviations together."""
    if not all(of_arm.values()):
        return ""
    (width, width_spread), (depth, depth_spread) = (_mean_and_spread(of_arm[arm]) for arm in ARMS)
    if abs(depth - width) <= width_spread + depth_spread:
        return "neither"
    return f"{'depth' if depth > width else 'width'} by {abs(depth - width):.1f}"


def note(record: Mapping[str, Any]) -> str:
    asked = record["asked"]
    more = asked["supernet_epochs"]
    seconds = {arm: [job["core_seconds"] for job in record["jobs"] if job["arm"] == arm] for arm in ARMS}
    costs = {arm: statistics.mean(found) if found else 0.0 for arm, found in seconds.items()}
    tried = (f"{len(WAYS[family])} for {NETWORKS[family].entry}" for family in record["baselines"])
    return (
        f"{asked['processor']}, {asked['device']}, 1 thread, one image; {len(asked['seeds'])} seeds. Depth is trained "
        f"for {asked['epochs']} epochs, after {more} of a supernet that serves all budgets of a network; width for "
        f"{asked['epochs'] + more}, so that depth has no epoch more ({costs['depth']:.0f} and {costs['width']:.0f} "
        "core-seconds to a training). How: the pruning ratio and what numbers of channels are multiples of, of the "
        f"ways there are ({', '.join(tried)}) the one that was best on calibration scenes after "
        f"{asked['tryout_epochs']} epoch at this budget; or the blocks cut. When chosen: width may be at the budget, "
        "depth has to be below it with its whole interval and by 1.5 %. At the end: the exported networks of the first "
        "seed, loaded anew, in the same rounds as the baseline. Ahead: by more than both standard deviations together. "
        f"The whole study took {record['seconds'] / 60:.0f} minutes of two cores of a shared machine."
    )
