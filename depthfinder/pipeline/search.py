"""The stage that finds the plan: what proposes and scores it, and what it takes on devices that have a budget."""

import dataclasses
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from depthfinder.console import log
from depthfinder.folder.table_origin import origin_of
from depthfinder.pipeline.fits import searched_space
from depthfinder.pipeline.ground import evaluations_of, ground_of, strategy_of
from depthfinder.pipeline.plan_space import latency_limits, space_of
from depthfinder.pipeline.run import Run
from depthfinder.pipeline.scoring import open_ledger, scorer, storage_url
from depthfinder.pipeline.workers import Helpers
from latency.study import REFERENCE
from latency.timing import Timings, time_interleaved
from latency.workbench import Workbench, reference
from profiles.files import write_whole
from pruner.choices.plan import Plan
from search.candidate import Candidate, SearchResult
from search.errors import StorageError
from search.search import Stop, search
from search.storage.opening import open_storage, storage_faults
from search.storage.url import redacted
from search.verification.finalists import Finalist, Judge, OnDevice, TimePlans
from search.verification.margin import margin_on
from search.verification.passed_over import passed_over
from search.verification.within_budget import search_within_budget

_FINALIST_SECONDS: Final = 10.0
_PASSED_OVER_TOLD: Final = 8
# Processes on other machines may have joined: nobody takes more of a round than so large a share.
_PEERS_ON_A_SERVER: Final = 4


def check_search(run: Run) -> None:
    """Finds out before any work whether the search can be carried out as asked; raises the error of what cannot."""
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
    """The plan: the best by its score whose network, measured, fits every budget."""
    asked = run.config
    deadline = None if asked.search.timeout is None else time.monotonic() + asked.search.timeout
    with storage_faults(storage_url(run)), Helpers(run):
        evaluate = scorer(run)
        ledger, sampler = open_ledger(run), strategy_of(run).sampler(ground_of(run))

        def search_slots(corrections: Sequence[float], first: int, stop: int) -> SearchResult:
            return search(
                searched_space(run, latency_limits(run, corrections)),
                evaluate=evaluate,
                ledger=ledger,
                sampler=sampler,
                stop=Stop(stop, asked.search.gap, None if deadline is None else max(0.0, deadline - time.monotonic())),
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
        margin = margin_on(judges, run.chain.plan({}), log.info)
        found = search_within_budget(search_slots, judges, evaluations_of(run, sampler), margin=margin, tell=log.info)
    log.info("%d plans evaluated; %s", found.result.num_evaluations, found.result.stopped)
    record = {
        "budget_ms": run.budget.latency_ms,
        "budgets_ms": {judge.device: judge.budget.latency_ms for judge in judges},
        "scored_by": asked.search.scored_by,
        "strategy": asked.search.strategy,
        "sampler": asked.search.sampler,
        "stopped": found.result.stopped,
        "table": origin_of(run.profile),
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


def peers_of(run: Run) -> int:
    """Among how many processes a round is shared out."""
    on_a_server = run.storage is not None and run.storage.startswith("postgres")
    return max(run.config.search.workers, _PEERS_ON_A_SERVER if on_a_server else 1)


def time_plans(run: Run) -> TimePlans | None:
    """Times plans' merged networks on the run's device; None when that is not here."""
    if not run.device_is_here:
        return None
    bench = Workbench(run.model, run.device, run.config.measure.batch_size, run.extra_choices)

    def timed(plans: Mapping[str, Plan]) -> Timings:
        programs = {name: bench.program_of(plan) for name, plan in plans.items()}
        return time_interleaved(
            {REFERENCE: reference(run.device), **programs},
            seconds=_FINALIST_SECONDS,
            seed=run.config.seed,
            one_thread=run.device.one_thread,
            progress=run.watch,
        )

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
