"""The stage that searches for the plan, and measures the best plans on the devices that have a budget."""

import dataclasses
import json
import time
from collections.abc import Sequence
from typing import Any, Final

from depthfinder.console import log
from depthfinder.folder.table_origin import origin_of
from depthfinder.pipeline.fits import searched_space
from depthfinder.pipeline.ground import evaluations_of, ground_of, strategy_of
from depthfinder.pipeline.plan_space import latency_limits, space_of
from depthfinder.pipeline.run import Run
from depthfinder.pipeline.scoring import open_ledger, scorer, storage_url
from depthfinder.pipeline.target import Target
from depthfinder.pipeline.workers import helpers_of
from profiles.files import write_whole
from search.candidate import Candidate, SearchResult
from search.errors import StorageError
from search.search import Stop, search
from search.storage.opening import open_storage, storage_faults
from search.storage.url import redacted
from search.verification.finalists import Finalist, Judge, OnDevice, TimePlans
from search.verification.margin import margin_on
from search.verification.passed_over import passed_over
from search.verification.timing import plan_timer
from search.verification.within_budget import search_within_budget

_PASSED_OVER_TOLD: Final = 8
# Processes on other machines may have joined: nobody takes more of a round than so large a share.
_PEERS_ON_A_SERVER: Final = 4


def check_search(run: Run) -> None:
    """Checks before any work that the search can be carried out as asked.

    Raises:
        PlanError: for limits that name blocks or choices that the network does not have.
        StorageError: when the study's storage cannot be opened, or not be shared by several workers.
    """
    space_of(run, [])
    if run.storage is not None:
        open_storage(run.storage)
        workers = run.config.search.workers
        if workers > 1 and run.storage.startswith("sqlite"):
            raise StorageError(
                f"{redacted(run.storage)} is for one process: share the study among {workers} workers by "
                "journal:///FILE or postgresql://, or leave --storage away"
            )


def search_stage(run: Run) -> None:
    """Searches for the plan of the best score whose measured network fits every budget, and writes it."""
    asked = run.config
    deadline = None if asked.search.timeout is None else time.monotonic() + asked.search.timeout
    with storage_faults(storage_url(run)), helpers_of(run):
        evaluate = scorer(run)
        ledger, sampler = open_ledger(run), strategy_of(run).sampler(ground_of(run))

        def search_slots(corrections: Sequence[float], first: int, stop: int) -> SearchResult:
            return search(
                searched_space(run, latency_limits(run.targets, corrections)),
                evaluate=evaluate,
                ledger=ledger,
                sampler=sampler,
                stop=Stop(stop, asked.search.gap, None if deadline is None else max(0.0, deadline - time.monotonic())),
                first=first,
                peers=peers_of(asked.search.workers, run.storage),
                seed=asked.seed,
                progress=run.watch,
            )

        judges = [Judge(target.budget, target.profile, time_plans(run, target)) for target in run.targets]
        for judge in judges:
            if judge.time_plans is None:
                device = judge.device
                log.info("%s is not here: nothing is measured on it; `depthfinder measure` there to be sure", device)
        margin = margin_on(judges, run.chain.plan({}), log.info)
        found = search_within_budget(search_slots, judges, evaluations_of(run, sampler), margin=margin, tell=log.info)
    log.info("%d plans evaluated; %s", found.result.num_evaluations, found.result.stopped)
    record = {
        "budget_ms": run.target.budget.latency_ms,
        "budgets_ms": {judge.device: judge.budget.latency_ms for judge in judges},
        "scored_by": asked.search.scored_by,
        "strategy": asked.search.strategy,
        "sampler": asked.search.sampler,
        "stopped": found.result.stopped,
        "table": origin_of(run.target.profile),
        "gap": found.result.gap,
        "evaluated": [candidate_record(one) for one in (*found.result.candidates, *found.result.others)],
        "finalists": [_finalist_record(finalist) for finalist in found.finalists],
        "corrections": dict(zip((judge.device for judge in judges), found.corrections, strict=True)),
        "passed_over": [
            candidate_record(one.candidate) | {"reason": one.reason}
            for one in passed_over(found, judges, margin=margin)[:_PASSED_OVER_TOLD]
        ],
    }
    write_whole(run.folder["search.json"], json.dumps(record, indent=1) + "\n")
    write_whole(run.folder["plan.json"], found.winner.candidate.plan.to_json())


def peers_of(workers: int, storage: str | None) -> int:
    """Returns the number of processes that a round of plans is shared among.

    Args:
        workers: How many processes work on this machine.
        storage: The URL of the study's storage, which other machines may share if it is a server; None for the run's
            own.
    """
    on_a_server = storage is not None and storage.startswith("postgres")
    return max(workers, _PEERS_ON_A_SERVER if on_a_server else 1)


def time_plans(run: Run, target: Target) -> TimePlans | None:
    """Returns a function that times the merged networks of plans on a device; None when the device is not here."""
    if not target.is_here:
        return None
    return plan_timer(
        run.model,
        target.device,
        target.measure.batch_size,
        run.offer.extra_choices,
        seed=run.config.seed,
        progress=run.watch,
    )


def candidate_record(candidate: Candidate) -> dict[str, Any]:
    """Returns a candidate as plain data, for `search.json`."""
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
    first, *others = finalist.verdicts
    return {
        "choices": dict(finalist.candidate.plan.choices),
        "score": finalist.candidate.score,
        **_on_device_record(first),
        "fits": finalist.fits if any(verdict.measured for verdict in finalist.verdicts) else None,
        "elsewhere": [_on_device_record(verdict) | {"fits": verdict.fits} for verdict in others],
    }


def _on_device_record(found: OnDevice) -> dict[str, Any]:
    evidence = found.evidence
    processor = None if evidence is None else evidence.processor
    return {
        "device": found.device,
        "predicted_ms": found.predicted_ms,
        "measured": None if evidence is None else evidence.network.record(),
        "baseline": None if evidence is None else evidence.baseline.record(),
        "ratio": found.ratio,
        "processor_ratio": None if processor is None else dataclasses.asdict(processor),
        "answer": found.answer,
        "reason": found.reason,
    }
