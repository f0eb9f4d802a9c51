"""The stage that measures what the run came to: accuracy on held-out images, and latency beside the baseline's."""

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
from depthfinder.pipeline.run import Run
from depthfinder.pipeline.training import begun, closed
from latency.evidence import Evidence, slowdown
from latency.study import REFERENCE
from latency.timing import Timings, time_interleaved
from latency.workbench import reference
from pruner.choices.plan import Plan
from pruner.network.surgery import Cut, apply, merge
from pruner.training.progressive import finalize
from search.verification.budget import Verdict
from search.verification.verdict import gather_evidence, verdict_by_table, verdict_on

_VERDICT_SECONDS: Final = 12.0
_BASELINE, _PRUNED = "baseline", "pruned"


def measure_stage(run: Run) -> None:
    """The verdict: accuracy on held-out images, and latency beside the baseline's in the same rounds; by the table
    alone, and so undecided, where the device is not here."""
    keep_all = Plan(model=run.chain.model)
    cut = closed(run)
    untrained = _untrained(run) if run.config.train.progressive_epochs else cut
    merged = merge(cut)
    evidence = _evidence(run, merged) if run.device_is_here else None
    networks = {
        name: NetworkResult(
            accuracy=baseline_accuracy(run) if name == _BASELINE else held_out_accuracy(run, network),
            latency=latency,
            predicted_ms=run.profile.latency_ms(plan),
            predicted_interval_ms=run.profile.interval_ms(plan),
            parameters=sum(parameter.numel() for parameter in network.parameters()),
            blocks=run.chain.counts(plan),
        )
        for name, network, plan, latency in (
            (_BASELINE, run.model, keep_all, evidence.baseline if evidence else None),
            (_PRUNED, merged, run.plan, evidence.network if evidence else None),
        )
    }
    result = RunResult(
        model=run.chain.model,
        setting=run.profile.setting,
        budget_ms=run.budget.latency_ms,
        budget_ratio=run.budget.ratio,
        verdict=_verdict(run, evidence),
        measured_ratio=evidence.wall if evidence else None,
        processor_ratio=evidence.processor if evidence else None,
        slowdown=slowdown(run.profile, evidence) if evidence else None,
        baseline=networks[_BASELINE],
        pruned=networks[_PRUNED],
        accuracy_without_training=held_out_accuracy(run, untrained),
        parity=json.loads(run.folder["parity.json"].read_text()),
        plan=dict(run.plan.choices),
        num_evaluations=len(json.loads(run.folder["search.json"].read_text())["evaluated"]),
        seconds=run.folder.seconds(),
        table=origin_of(run.profile),
        labelled=run.config.data.has_labels,
    )
    result.save(run.folder["result.json"])


def _untrained(run: Run) -> Cut:
    """The plan's network as it is before its training, closed."""
    cut = begun(run)
    finalize(cut, run.data, run.train_settings(0))
    return cut


def _verdict(run: Run, evidence: Evidence | None) -> Verdict:
    if evidence is None:
        return verdict_by_table(run.budget, run.profile.latency_ms(run.plan), run.config.measure.device)
    return verdict_on(run.budget, evidence)


def _evidence(run: Run, merged: nn.Module) -> Evidence:
    """What was read of the merged network beside the baseline; read again, after a wait, while it decides nothing."""
    images = torch.rand(
        run.config.measure.batch_size, *run.chain.input_size, generator=torch.Generator().manual_seed(run.config.seed)
    )
    # The baseline has its BatchNorms folded too: what folding them gains is not for pruning to claim.
    whole = apply(run.model, Plan(model=run.chain.model))
    whole.set_lambda(0.0)
    programs = {
        REFERENCE: reference(run.device),
        _BASELINE: run.device.load(merge(whole), images),
        _PRUNED: run.device.load(merged, images),
    }

    def timed(names: Collection[str]) -> Timings:
        return time_interleaved(
            {name: programs[name] for name in (REFERENCE, _BASELINE, *names)},
            seconds=_VERDICT_SECONDS,
            seed=run.config.seed,
            one_thread=run.device.one_thread,
            progress=run.watch,
        )

    found = gather_evidence(
        [_PRUNED],
        _BASELINE,
        run.budget,
        timed,
        again=lambda evidence: verdict_on(run.budget, evidence).answer == "undecided",
        tell=log.info,
    )
    return found[_PRUNED]
