"""The stage that judges the merged network: accuracy on held-out images, and latency beside the baseline's."""

import json
from collections.abc import Collection
from typing import Final

import torch
from torch import nn

from depthfinder.console import log
from depthfinder.folder.result import NetworkResult, RunResult
from depthfinder.folder.table_origin import origin_of
from depthfinder.pipeline.baseline import baseline_accuracy
from depthfinder.pipeline.held_out import held_out_accuracy
from depthfinder.pipeline.merge import handed_over
from depthfinder.pipeline.run import Run
from depthfinder.pipeline.target import Target
from depthfinder.pipeline.training import untrained_accuracy
from latency.evidence import Evidence, slowdown
from latency.study import REFERENCE
from latency.timing import Timings, time_interleaved
from latency.workbench import reference
from pruner.choices.plan import Plan
from pruner.training.objective import light_copy
from search.verification.budget import Verdict
from search.verification.verdict import gather_evidence, verdict_by_table, verdict_on

_VERDICT_SECONDS: Final = 12.0
_BASELINE, _PRUNED = "baseline", "pruned"


def measure_stage(run: Run) -> None:
    """Writes the result: accuracy on held-out images, and latency beside the baseline's, measured in the same rounds.

    Where the device is not here, the latency is by the table alone, and the verdict is undecided.
    """
    keep_all = Plan(model=run.chain.model)
    merged = handed_over(run)
    target = run.target
    evidence = _evidence(run, merged) if target.is_here else None
    after = held_out_accuracy(merged, run.data, run.world.device)
    networks = {
        name: NetworkResult(
            accuracy=accuracy,
            latency=latency,
            predicted_ms=target.profile.latency_ms(plan),
            predicted_interval_ms=target.profile.interval_ms(plan),
            parameters=sum(parameter.numel() for parameter in network.parameters()),
            blocks=run.chain.counts(plan),
        )
        for name, network, plan, accuracy, latency in (
            (_BASELINE, run.model, keep_all, baseline_accuracy(run), evidence.baseline if evidence else None),
            (_PRUNED, merged, run.plan, after, evidence.network if evidence else None),
        )
    }
    result = RunResult(
        model=run.chain.model,
        setting=target.profile.setting,
        budget_ms=target.budget.latency_ms,
        budget_ratio=target.budget.ratio,
        verdict=_verdict(target, run.plan, evidence),
        measured_ratio=evidence.wall if evidence else None,
        processor_ratio=evidence.processor if evidence else None,
        slowdown=slowdown(target.profile, evidence) if evidence else None,
        baseline=networks[_BASELINE],
        pruned=networks[_PRUNED],
        accuracy_without_training=untrained_accuracy(run) if run.config.train.progressive_epochs else after,
        parity=json.loads(run.folder["parity.json"].read_text()),
        plan=dict(run.plan.choices),
        num_evaluations=len(json.loads(run.folder["search.json"].read_text())["evaluated"]),
        seconds=run.folder.seconds(),
        table=origin_of(target.profile),
        labelled=run.config.data.has_labels,
    )
    result.save(run.folder["result.json"])


def _verdict(target: Target, plan: Plan, evidence: Evidence | None) -> Verdict:
    if evidence is None:
        return verdict_by_table(target.budget, target.profile.latency_ms(plan), target.name)
    return verdict_on(target.budget, evidence)


def _evidence(run: Run, merged: nn.Module) -> Evidence:
    """The readings of the merged network beside the baseline; taken again, after a wait, while they decide nothing."""
    device, budget = run.target.device, run.target.budget
    images = torch.rand(
        run.config.measure.batch_size, *run.chain.input_size, generator=torch.Generator().manual_seed(run.config.seed)
    )
    programs = {
        REFERENCE: reference(device),
        # Its BatchNorms are folded too, so that the gain of folding them is not counted as one of pruning.
        _BASELINE: device.load(light_copy(run.model), images),
        _PRUNED: device.load(merged, images),
    }

    def timed(names: Collection[str]) -> Timings:
        return time_interleaved(
            {name: programs[name] for name in (REFERENCE, _BASELINE, *names)},
            seconds=_VERDICT_SECONDS,
            seed=run.config.seed,
            one_thread=device.one_thread,
            progress=run.watch,
        )

    found = gather_evidence(
        [_PRUNED],
        _BASELINE,
        budget,
        timed,
        again=lambda evidence: verdict_on(budget, evidence).answer == "undecided",
        tell=log.info,
    )
    return found[_PRUNED]
