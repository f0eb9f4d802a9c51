"""The stage that finds the plan: what it may be, what scores it, and what it takes on devices that have a budget."""

import dataclasses
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from depthfinder.console import log
from depthfinder.run import Run
from depthfinder.scoring import open_ledger, scorer, storage_url
from depthfinder.workers import Helpers
from latency.timing import Timings, time_interleaved
from latency.workbench import Workbench
from profiles.files import write_whole
from pruner.plan import Plan
from pruner.sizes import parameters_by_choice
from pruner.surgery import supernet
from search.candidate import Candidate, SearchResult
from search.feasible import check_reachable
from search.finalists import Finalist, Judge, TimePlans
from search.limits import LatencyLimit, Limit, SizeLimit
from search.promise import keep_promise
from search.samplers import known_sampler
from search.search import Stop, search
from search.space import Space
from search.storage import open_storage, storage_faults
from search.storage_url import StorageError, redacted

# The same network, loaded again, measures differently by up to about this much, however long it is measured: where its
# weights happen to lie decides it. The search aims that far below the budget, and a finalist, whose network was loaded
# and measured, half as far.
SESSION_SPREAD: Final = 0.03
_FINALIST_SECONDS: Final = 10.0
_BYTES: Final = {"fp32": 4, "fp16": 2, "bf16": 2}
# Plans are scored together here: what begins like another costs less.
_SCORED_TOGETHER: Final = {"auto": "thrifty"}
# Processes on other machines may have joined: nobody takes more of a round than so large a share.
_PEERS_ON_A_SERVER: Final = 4


class NothingToPruneError(Exception):
    """The baseline is within the budget as it is."""


def check_search(run: Run) -> None:
    """Finds out before any work whether the search can be carried out as asked; raises the error of what cannot."""
    known_sampler(run.arguments.sampler)
    space_of(run, [])
    if run.storage is not None:
        open_storage(run.storage)
        if run.arguments.workers > 1 and run.storage.startswith("sqlite"):
            raise StorageError(
                f"{redacted(run.storage)} is for one process: share the study among {run.arguments.workers} workers by "
                "journal:///FILE or postgresql://, or leave --storage away"
            )


def search_stage(run: Run) -> None:
    """The plan: the best by supernet accuracy whose network, measured, fits every budget."""
    asked = run.arguments
    deadline = None if asked.timeout is None else time.monotonic() + asked.timeout
    with storage_faults(storage_url(run)), Helpers(run):
        evaluate = scorer(run)
        ledger = open_ledger(run)

        def hunt(corrections: Sequence[float], first: int, stop: int) -> SearchResult:
            return search(
                space_of(run, latency_limits(run, corrections)),
                evaluate=evaluate,
                ledger=ledger,
                sampler=known_sampler(_SCORED_TOGETHER.get(asked.sampler, asked.sampler)),
                stop=Stop(stop, asked.gap, None if deadline is None else max(0.0, deadline - time.monotonic())),
                first=first,
                peers=peers_of(run),
                seed=asked.seed,
                progress=run.watch,
            )

        judges = [Judge(one.budget, one.profile, time_plans(one)) for one in (run, *run.others)]
        for judge in judges:
            if judge.time_plans is None:
                device = judge.device
                log.info("%s is not here: nothing is measured on it; `depthfinder measure` there to be sure", device)
        found = keep_promise(hunt, judges, asked.n_trials, margin=SESSION_SPREAD / 2, tell=log.info)
    log.info("%d plans evaluated; %s", found.result.num_evaluations, found.result.stopped)
    record = {
        "budget_ms": run.budget.latency_ms,
        "budgets_ms": {judge.device: judge.budget.latency_ms for judge in judges},
        "sampler": asked.sampler,
        "stopped": found.result.stopped,
        "gap": found.result.gap,
        "evaluated": [candidate_record(one) for one in (*found.result.candidates, *found.result.others)],
        "finalists": [_finalist_record(finalist) for finalist in found.finalists],
    }
    write_whole(run.folder["search.json"], json.dumps(record, indent=1) + "\n")
    write_whole(run.folder["plan.json"], found.winner.candidate.plan.to_json())


def space_of(run: Run, limits: Sequence[Limit]) -> Space:
    """The plans that were not ruled out, within these limits and those on size."""
    asked = run.arguments
    return Space.of(
        run.chain,
        [*limits, *_size_limits(run)],
        keep=asked.keep,
        only=None if asked.choices is None else [choice.strip() for choice in asked.choices.split(",")],
        max_pruned=asked.max_pruned,
        keep_one_per_stage=asked.keep_one_per_stage,
    )


def latency_limits(run: Run, corrections: Sequence[float]) -> list[LatencyLimit]:
    """What every device's table may say of a plan, if it has to be multiplied by the device's correction."""
    return [
        LatencyLimit(one.profile, one.budget.tightened(SESSION_SPREAD).latency_ms / correction)
        for one, correction in zip((run, *run.others), corrections, strict=True)
    ]


def limits_of(run: Run) -> list[LatencyLimit]:
    """The same by the tables as they are."""
    return latency_limits(run, [1.0 for _ in (run, *run.others)])


def check_budget(run: Run) -> None:
    """Before any training: whether the budgets ask for something, and for something that can be had."""
    budget, sizes = run.budget, (run.arguments.max_parameters, run.arguments.max_memory_mb)
    within = [one.budget.latency_ms >= one.profile.baseline_ms for one in (run, *run.others)]
    if all(within) and not any(sizes):
        raise NothingToPruneError(
            f"{run.chain.model} takes {run.profile.baseline_ms:.3f} ms as it is, within the budget of "
            f"{budget.latency_ms:.3f} ms: nothing need be pruned"
        )
    check_reachable(space_of(run, limits_of(run)))


def peers_of(run: Run) -> int:
    """Among how many processes a round is shared out."""
    on_a_server = run.storage is not None and run.storage.startswith("postgres")
    return max(run.arguments.workers, _PEERS_ON_A_SERVER if on_a_server else 1)


def time_plans(run: Run) -> TimePlans | None:
    """Times plans' merged networks on the run's device; None when that is not here."""
    if not run.device_is_here:
        return None
    bench = Workbench(run.model, run.device, run.arguments.batch_size)

    def timed(plans: Mapping[str, Plan]) -> Timings:
        programs = {name: bench.program_of(plan) for name, plan in plans.items()}
        return time_interleaved(programs, seconds=_FINALIST_SECONDS, seed=run.arguments.seed, progress=run.watch)

    return timed


def candidate_record(candidate: Candidate) -> dict[str, Any]:
    """For `search.json`."""
    details = None if candidate.details is None else dataclasses.asdict(candidate.details)
    return {
        "number": candidate.number,
        "choices": dict(candidate.plan.choices),
        "score": candidate.score,
        "latency_ms": candidate.latency_ms,
        "feasible": candidate.fits,
        "how": candidate.how,
        **{name: value for name, value in (details or {}).items() if name != "value"},
    }


def _finalist_record(finalist: Finalist) -> dict[str, Any]:
    first = finalist.verdicts[0]
    return {
        "choices": dict(finalist.candidate.plan.choices),
        "score": finalist.candidate.score,
        "predicted_ms": first.predicted_ms,
        "measured": None if first.measured is None else dataclasses.asdict(first.measured),
        "ratio": first.ratio,
        "fits": finalist.fits if any(verdict.measured for verdict in finalist.verdicts) else None,
        "straddles": finalist.straddles,
        "elsewhere": [dataclasses.asdict(verdict) for verdict in finalist.verdicts[1:]],
    }


def _size_limits(run: Run) -> list[Limit]:
    asked = run.arguments
    if asked.max_parameters is None and asked.max_memory_mb is None:
        return []
    sizes = parameters_by_choice(supernet(run.untuned))
    whole = float(sum(parameter.numel() for parameter in run.untuned.parameters()))
    limits: list[Limit] = []
    if asked.max_parameters is not None:
        limits.append(SizeLimit("parameters", asked.max_parameters, whole, sizes))
    if asked.max_memory_mb is not None:
        parameters = asked.max_memory_mb * 1e6 / _BYTES[asked.dtype]
        limits.append(SizeLimit(f"parameters ({asked.max_memory_mb:g} MB)", parameters, whole, sizes))
    return limits
