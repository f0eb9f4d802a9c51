"""The stage of `pareto`: it finds the whole front of accuracy against latency in one study."""

import json
import math
from typing import Any, Final

import numpy as np

from depthfinder.console import log
from depthfinder.folder.table_origin import origin_of
from depthfinder.pipeline.fits import searched_space
from depthfinder.pipeline.run import Run
from depthfinder.pipeline.scoring import open_ledger, scorer, storage_url
from depthfinder.pipeline.search import candidate_record, peers_of, time_plans
from depthfinder.pipeline.target import Target
from depthfinder.pipeline.workers import helpers_of
from depthfinder.report.pictures import front_picture
from latency.evidence import Evidence
from profiles.files import write_whole
from search.candidate import Candidate
from search.limits import latency_limits_by
from search.samplers import Front
from search.search import Stop, search
from search.storage.opening import storage_faults

_BASELINE: Final = "baseline"
_MOST_MEASURED: Final = 12


def front_stage(run: Run) -> None:
    """Finds the Pareto front up to the budget, or up to the baseline without one, and measures plans along it."""
    asked = run.config
    limits = [limit for target in run.targets for limit in latency_limits_by(target.profile, _bound_ms(target))]
    space = searched_space(run, limits)
    with storage_faults(storage_url(run)), helpers_of(run):
        result = search(
            space,
            evaluate=scorer(run),
            ledger=open_ledger(run, ("maximize", "minimize")),
            sampler=Front(),
            stop=Stop(asked.search.n_trials, asked.search.gap, asked.search.timeout),
            peers=peers_of(asked.search.workers, run.storage),
            seed=asked.seed,
            progress=run.watch,
        )
    log.info("%d plans evaluated, %d of them on the front", result.num_evaluations, len(result.front))
    chosen = _along(result.front)
    by_device = {target.name: _measured(run, target, chosen) if chosen else {} for target in run.targets}
    measured = by_device.pop(run.target.name)
    front = [
        candidate_record(one)
        | {"measured": measured.get(one.number)}
        | {"elsewhere": {device: found.get(one.number) for device, found in by_device.items()}}
        for one in result.front
    ]
    record = {
        "budget_ms": limits[0].bound,
        "budgets_ms": {limit.profile.setting.device: limit.bound for limit in limits},
        "table": origin_of(run.target.profile),
        "front": front,
        "evaluated": [candidate_record(one) for one in (*result.candidates, *result.others)],
    }
    write_whole(run.folder["front.json"], json.dumps(record, indent=1) + "\n")
    write_whole(run.folder["front.svg"], front_picture(record))


def _bound_ms(target: Target) -> float:
    """The latency in milliseconds that a plan may have by the table: the budget, else that of the uncut network."""
    if target.measure.has_budget:
        return target.budget.latency_ms
    # The sum was rounded: the uncut network itself is to be within it.
    return math.nextafter(target.profile.uncut_ms, math.inf)


def _along(front: tuple[Candidate, ...]) -> tuple[Candidate, ...]:
    """The whole front, or plans spaced evenly along a long one."""
    places = np.unique(np.linspace(0, len(front) - 1, min(len(front), _MOST_MEASURED)).round().astype(int))
    return tuple(front[place] for place in places)


def _measured(run: Run, target: Target, plans: tuple[Candidate, ...]) -> dict[int, dict[str, Any]]:
    """The number of each plan -> its record, all measured in the same rounds on a device; empty if that is not here."""
    timed = time_plans(run, target)
    if timed is None:
        log.info("%s is not here: the front is by the table alone", target.name)
        return {}
    chosen = {str(one.number): one.plan for one in plans}
    timings = timed({_BASELINE: run.chain.plan({})} | chosen)
    found = {name: Evidence.of(timings, name, _BASELINE) for name in chosen}
    return {
        int(name): one.network.record() | {"ratio": one.wall.value, "doubts": list(one.doubts)}
        for name, one in found.items()
    }
