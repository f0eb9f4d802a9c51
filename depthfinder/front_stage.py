"""The stage that finds the whole front of accuracy against latency, in one study."""

import dataclasses
import json
import math
from typing import Any, Final

import numpy as np

from depthfinder.console import log
from depthfinder.pictures import front_picture
from depthfinder.plan_space import space_of
from depthfinder.run import Run
from depthfinder.scoring import open_ledger, scorer, storage_url
from depthfinder.search_stage import candidate_record, peers_of, time_plans
from depthfinder.workers import Helpers
from profiles.files import write_whole
from search.candidate import Candidate
from search.limits import LatencyLimit
from search.samplers import Front
from search.search import Stop, search
from search.storage import storage_faults

_BASELINE: Final = "baseline"
_MOST_MEASURED: Final = 12


def front_stage(run: Run) -> None:
    """The plans that no faster one equals, up to the budget if there is one, else to the baseline."""
    asked = run.arguments
    # The sum was rounded: the uncut network itself is to be within it.
    uncut_ms = math.nextafter(run.profile.latency_ms(run.chain.plan({})), math.inf)
    bound_ms = run.budget.latency_ms if asked.budget_ms or asked.budget_ratio else uncut_ms
    space = space_of(run, [LatencyLimit(run.profile, bound_ms)])
    with storage_faults(storage_url(run)), Helpers(run):
        result = search(
            space,
            evaluate=scorer(run),
            ledger=open_ledger(run, ("maximize", "minimize")),
            sampler=Front(),
            stop=Stop(asked.n_trials, asked.gap, asked.timeout),
            peers=peers_of(run),
            seed=asked.seed,
            progress=run.watch,
        )
    log.info("%d plans evaluated, %d of them on the front", result.num_evaluations, len(result.front))
    measured = _measured(run, result.front)
    front = [candidate_record(one) | {"measured": measured.get(one.number)} for one in result.front]
    record = {
        "budget_ms": bound_ms,
        "front": front,
        "evaluated": [candidate_record(one) for one in (*result.candidates, *result.others)],
    }
    write_whole(run.folder["front.json"], json.dumps(record, indent=1) + "\n")
    write_whole(run.folder["front.svg"], front_picture(record))


def _measured(run: Run, front: tuple[Candidate, ...]) -> dict[int, dict[str, Any]]:
    """The front's plans as measured in the same rounds, by their numbers; a few evenly along it where it is long."""
    timed = time_plans(run)
    if timed is None:
        log.info("%s is not here: the front is by the table alone", run.arguments.device)
        return {}
    places = np.unique(np.linspace(0, len(front) - 1, min(len(front), _MOST_MEASURED)).round().astype(int))
    chosen = {str(front[place].number): front[place].plan for place in places}
    timings = timed({_BASELINE: run.chain.plan({})} | chosen)
    return {
        int(name): dataclasses.asdict(timings.measurement(name)) | {"ratio": timings.ratio(name, _BASELINE).value}
        for name in chosen
    }
