"""A search to be reviewed, made up: every kind of verdict stands in it, and names that are traps for a browser."""

import dataclasses
import itertools
import json
from pathlib import Path
from typing import Any

from latency.devices.null import Null
from latency.profiler import profile
from networks import made
from profiles.measurement import Measurement
from profiles.profile import Profile
from profiles.writing import save_profile
from pruner.choices.plan import Plan

MARKED = "document['documentElement']['setAttribute']('data-trapped','yes')"
TRAP = f'<script>{MARKED}</script><img src=x onerror="{MARKED}">[a](javascript:{MARKED})`{{{{7*7}}}}` |$x^$|\n# b'
NUM_PLANS = 14
INFEASIBLE, UNFIT, EARLIER, WINNER = 2, 4, 6, 9
"""Numbers: over the budget by the table; as measured; as good as the winner but never measured; the winner."""


def hostile_profile() -> Profile:
    """A table of 8 blocks whose model, and whose last block, are called `TRAP`."""
    table = profile(made("digits", 0), Null(), max_seconds=0.1)
    last = table.blocks[-1]
    segments = tuple(
        dataclasses.replace(segment, name=TRAP) if segment.name == last else segment for segment in table.segments
    )
    anchors = tuple(dataclasses.replace(anchor, choices={}) for anchor in table.anchors[:1])
    return dataclasses.replace(table, model=TRAP, segments=segments, anchors=anchors)


def write_run(folder: Path, table: Profile) -> None:
    """A run folder after its search and its report, with `NUM_PLANS` plans."""
    folder.mkdir(parents=True)
    save_profile(table, folder / "profile.json")
    (folder / "report.html").write_text("<!doctype html><title>report</title>")
    (folder / "plan.json").write_text(Plan(table.model, choices(table, WINNER)).to_json())
    (folder / "search.json").write_text(json.dumps(found(table)))


def choices(table: Profile, number: int) -> dict[str, str]:
    """The plan that is evaluated as `number`: another pair of blocks dropped for each, none for the infeasible one."""
    pairs = list(itertools.combinations(table.blocks, 2))
    first, second = pairs[-1 - number]
    return {} if number == INFEASIBLE else {first: "drop", second: "drop"}


def found(table: Profile) -> dict[str, Any]:
    """What `search.json` holds: 14 plans, best first, and three finalists, the winner first."""
    scores = {number: 0.5 + 0.01 * number for number in range(NUM_PLANS)}
    scores |= {INFEASIBLE: 0.95, UNFIT: 0.9, EARLIER: 0.8, WINNER: 0.8}
    slowest_ms = max(table.latency_ms(Plan("", choices(table, n))) for n in range(NUM_PLANS) if n != INFEASIBLE)
    budget_ms = (slowest_ms + table.latency_ms(Plan(""))) / 2
    evaluated = [
        {
            "number": number,
            "choices": choices(table, number),
            "score": score,
            "latency_ms": table.latency_ms(Plan("", choices(table, number))),
            "accuracy": score,
            "cross_entropy": 1 - score,
            "agreement": score,
            "images": 100,
            "how": "tpe",
        }
        for number, score in sorted(scores.items(), key=lambda pair: -pair[1])
    ]
    finalists = [
        {
            "choices": choices(table, number),
            "score": scores[number],
            "predicted_ms": 0.9 * budget_ms,
            "measured": dataclasses.asdict(measured(share * budget_ms)),
            "ratio": share * budget_ms / table.baseline_ms,
            "fits": fits,
        }
        for number, share, fits in ((WINNER, 0.9, True), (UNFIT, 1.1, False), (13, 0.8, True))
    ]
    return {"budget_ms": budget_ms, "evaluated": evaluated, "finalists": finalists}


def measured(ms: float) -> Measurement:
    return Measurement(ms, 0.99 * ms, 1.01 * ms, ms, 0.99 * ms, 1.1 * ms, 0.02 * ms, ms, 100)
