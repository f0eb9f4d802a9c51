"""The table of `benchmarks/width.py`, from what that study wrote down."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pruner.choices.plan import Plan
from shared.small_networks import NETWORKS
from shared.spreads import mean_and_deviation, mean_with_deviation
from shared.tables import markdown_table
from width_study.narrowing import PARTS, WAYS, Way

WIDTH, REFITTED, DEPTH, TOGETHER = "width", "width, refitted", "depth", "all together"
ARMS: Final = (WIDTH, REFITTED, DEPTH, TOGETHER)

Jobs = Sequence[Mapping[str, Any]]
Cells = list[str | None]


def lines_of(record: Mapping[str, Any]) -> list[str]:
    """The whole of `width.md`."""
    return [*rows(record), "", *summary(record), "", note(record)]


def rows(record: Mapping[str, Any]) -> list[str]:
    """The table: to a budget a row for every arm, which says how all together stands beside it."""
    head = ("network", "budget", "arm", "how", "when chosen", "at the end (95 %)", "parameters", "M MACs")
    head += ("before training, %", "accuracy, %", "all together is")
    found: list[Cells] = []
    for family, whole in record["baselines"].items():
        start = (NETWORKS[family].entry, None, "as it was", None, "1", "1")
        sizes = (f"{whole['parameters']:,}", f"{whole['macs'] / 1e6:.2f}")
        found.append([*start, *sizes, None, f"{100 * whole['accuracy']:.2f}", None])
        for place in (one for one in record["places"] if one["family"] == family):
            found += [_row(place, arm, jobs_of(record, place)) for arm in record["asked"]["arms"]]
    return markdown_table(head, found)


def jobs_of(record: Mapping[str, Any], place: Mapping[str, Any]) -> dict[str, Jobs]:
    """The trainings at one place, by arm."""
    here = [job for job in record["jobs"] if (job["family"], job["budget"]) == (place["family"], place["budget"])]
    return {arm: [job for job in here if job["arm"] == arm] for arm in ARMS}


def _row(place: Mapping[str, Any], arm: str, of_arm: Mapping[str, Jobs]) -> Cells:
    start: Cells = [NETWORKS[place["family"]].entry, str(place["budget"]), arm]
    chosen, jobs = place[arm], of_arm[arm]
    if not jobs:
        return [*start, "nothing fits", *[None] * 7]
    ratio = "{value:.3f} ({low:.3f} to {high:.3f})".format(**place["measured"][arm])
    reached = mean_with_deviation(_accuracies(jobs))
    before = f"{100 * statistics.mean(job['before'] for job in jobs):.2f}"
    cells = (_how(chosen), f"{chosen['ratio']:.3f}", ratio, f"{jobs[0]['parameters']:,}")
    figures = (f"{jobs[0]['macs'] / 1e6:.2f}", before, reached, beside(place, of_arm, arm))
    return [*start, *cells, *figures]


def _how(chosen: Mapping[str, Any]) -> str:
    if "part" in chosen:
        return f"{chosen['part'] / PARTS:.2f}, {Way(**chosen['way']).text}"
    choices = list(Plan.from_json(chosen["plan"]).choices.values())
    cuts = ", ".join(f"{choices.count(choice)} {choice}" for choice in sorted(set(choices)))
    return f"{cuts} ({chosen['by']}{'' if is_decided(chosen) else ', undecided'})"


def _accuracies(jobs: Jobs) -> list[float]:
    return [100 * job["accuracy"] for job in jobs]


def is_decided(chosen: Mapping[str, Any]) -> bool:
    """Whether what was measured when it was chosen could be believed; width is read without such a verdict."""
    return chosen.get("answer", "met") == "met"


def beside(place: Mapping[str, Any], of_arm: Mapping[str, Jobs], arm: str) -> str:
    """How all together stands beside an arm: ahead or behind, if its mean is so by more than both standard deviations
    together; undecided where a plan's measurement could not be believed; nothing of itself, or where one of the two
    does not reach the budget."""
    if arm == TOGETHER or not of_arm[TOGETHER]:
        return ""
    if not (is_decided(place[arm]) and is_decided(place[TOGETHER])):
        return "undecided"
    (mean, spread), (other, other_spread) = (mean_and_deviation(_accuracies(of_arm[one])) for one in (TOGETHER, arm))
    if abs(mean - other) <= spread + other_spread:
        return "level"
    return f"{'ahead' if mean > other else 'behind'} by {abs(mean - other):.1f}"


def summary(record: Mapping[str, Any]) -> list[str]:
    """How often all together is ahead, level and behind; what it keeps without training; how near winners came."""
    places = record["places"]
    found = []
    for arm in (one for one in record["asked"]["arms"] if one != TOGETHER):
        jobs = [(place, jobs_of(record, place)) for place in places]
        said = [beside(place, one, arm).partition(" ")[0] for place, one in jobs if one[arm]]
        unreached = sum(1 for _, one in jobs if not one[arm])
        found.append(
            f"All together beside {arm}: ahead at {said.count('ahead')}, level at {said.count('level')}, behind at "
            f"{said.count('behind')}, undecided at {said.count('undecided')} of {len(said)} places; {unreached} more "
            f"that {arm} does not reach."
        )
    largest = max(place["budget"] for place in places)
    for family, whole in record["baselines"].items():
        for place in (one for one in places if (one["family"], one["budget"]) == (family, largest)):
            jobs = jobs_of(record, place)[TOGETHER]
            if jobs:
                lost = 100 * (statistics.mean(job["before"] for job in jobs) - whole["accuracy"])
                found.append(f"{NETWORKS[family].entry} at {largest}, all together, before any training: {lost:+.2f}.")
    for arm in (DEPTH, TOGETHER):
        used = [place[arm]["ratio"] / place["budget"] for place in places if "ratio" in place[arm]]
        if used:
            found.append(f"Of the budget, winners of {arm} use {statistics.mean(used):.3f} in the mean.")
    return [f"- {line}" for line in found]


def note(record: Mapping[str, Any]) -> str:
    asked = record["asked"]
    more = asked["supernet_epochs"]
    seconds = {arm: [job["core_seconds"] for job in record["jobs"] if job["arm"] == arm] for arm in ARMS}
    costs = {arm: statistics.mean(found) if found else 0.0 for arm, found in seconds.items()}
    tried = (f"{len(WAYS[family])} for {NETWORKS[family].entry}" for family in record["baselines"])
    return (
        f"{asked['processor']}, {asked['device']}, 1 thread, one image; {len(asked['seeds'])} seeds. Depth and all "
        f"together are trained for {asked['epochs']} epochs, after {more} of a supernet that serves all budgets of a "
        f"network; width for {asked['epochs'] + more}, so that they have no epoch more ("
        + ", ".join(f"{arm} {costs[arm]:.0f}" for arm in asked["arms"])
        + " core-seconds to a training). How: the pruning ratio and what numbers of channels are multiples of, of the "
        f"ways there are ({', '.join(tried)}) the one that was best on calibration scenes after "
        f"{asked['tryout_epochs']} epoch at this budget; or what became of blocks, and in brackets what scored the "
        "plans. When chosen: width may be at the budget, the others have to be below it with their whole interval and "
        "by what loading the network anew shows. At the end: the exported networks of the first seed, loaded anew, in "
        "the same rounds as the baseline. Ahead and behind: by more than both standard deviations together. "
        f"What was left of the study when it was typed last took {record['seconds'] / 60:.0f} minutes of two cores of "
        "a shared machine."
    )
