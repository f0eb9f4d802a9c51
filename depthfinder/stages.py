"""The stages of a run, in order: each reads what the ones before it left in the run folder, and leaves its own."""

import dataclasses
import json
import time
from collections.abc import Sequence
from typing import Final

import torch

from depthfinder.console import log
from depthfinder.datasets import BAD_IMAGES, tell_of_bad_images
from depthfinder.front_stage import front_stage
from depthfinder.held_out import held_out_accuracy, held_out_images
from depthfinder.mask_stages import hand_over_stage, judge_stage, mask_stage
from depthfinder.report import write_report
from depthfinder.result import NetworkResult, RunResult
from depthfinder.run import Run, Stage
from depthfinder.search_stage import search_stage
from depthfinder.training_stages import finetune_stage, supernet_stage, train_stage, trained
from depthfinder.unseen_sizes import predicted_from_other_sizes
from latency.export import export_onnx, export_safetensors
from latency.profiler import profile
from latency.timing import time_interleaved
from profiles.files import write_whole
from profiles.profile import Profile
from profiles.store import matching_profile, near_profiles, profile_path, save_profile
from pruner.plan import Plan
from pruner.surgery import Cut, apply, merge
from pruner.training.progressive import begin, close

_VERDICT_SECONDS: Final = 12.0
_PARITY_IMAGES: Final = 1_000


def profile_stage(run: Run) -> None:
    """The latency table of every device that has a budget."""
    for one in (run, *run.others):
        found = _table(one)
        save_profile(found, run.folder[one.table])
        log.info(
            "baseline on %s: %.3f ms; the table is within %.1f %%",
            one.arguments.device,
            found.baseline_ms,
            100 * found.relative_error,
        )


def _table(run: Run) -> Profile:
    """The table that was named; else the newest that was measured in this very setting, or a new one; for a device that
    is not here, the newest that was made elsewhere."""
    arguments = run.arguments
    if run.named_table is not None:
        log.info("going by the profile %s, %s %s", arguments.profile, run.named_table.origin, run.named_table.created)
        return run.named_table
    if not run.device_is_here:
        assert run.table_from_elsewhere is not None, "a search without its device was checked to have a table"
        path, found = run.table_from_elsewhere
        log.info("%s is not here: going by the %s table %s of %s", arguments.device, found.origin, path, found.created)
        return found
    setting = run.device.setting(arguments.batch_size)
    known = matching_profile(run.profiles_root, run.chain.fingerprint, setting)
    predicted = None if known is not None else predicted_from_other_sizes(run)
    if known is not None:
        path, found = known
        log.info("continuing from the profile %s, measured %s: no block is measured again", path, found.created)
    elif predicted is not None:
        found = predicted
    else:
        for path, differences in near_profiles(run.profiles_root, run.chain.fingerprint, setting)[:1]:
            log.info("%s is of this network in another setting (%s): measuring anew", path, "; ".join(differences))
        found = profile(
            run.untuned,
            run.device,
            batch_size=arguments.batch_size,
            max_seconds=arguments.max_seconds,
            seed=arguments.seed,
            model_kwargs=arguments.model_kwargs,
            also=run.also,
            progress=run.watch,
        )
        if found.conditions is not None and found.conditions.noise is not None:
            log.info("the machine was not steady: %s", found.conditions.noise)
        save_profile(found, profile_path(run.profiles_root, run.chain.model, setting, run.requested))
    return found


def merge_stage(run: Run) -> None:
    """The merged network, as ONNX and safetensors, compared in both runtimes on test images."""
    merged = merge(_trained(run))
    export_safetensors(merged, run.folder["merged.safetensors"], run.plan)
    images = held_out_images(run.data, _PARITY_IMAGES)
    parity = export_onnx(merged, run.folder["merged.onnx"], images, plan=run.plan)
    log.info(
        "merged.onnx: the same top-1 as PyTorch on %d of %d images, logits within %.1e",
        parity.same_top1,
        parity.images,
        parity.largest_difference,
    )
    write_whole(run.folder["parity.json"], json.dumps(dataclasses.asdict(parity), indent=1) + "\n")


def measure_stage(run: Run) -> None:
    """The verdict: accuracy on held-out images, and latency beside the baseline's in the same rounds."""
    cut = _trained(run)
    merged = merge(cut)
    untrained = apply(run.model, run.plan).to(run.world.device)
    begin(untrained, run.plan, run.data, run.train_settings(0))
    close(untrained, run.data, run.train_settings(0))
    images = torch.rand(
        run.arguments.batch_size, *run.chain.input_size, generator=torch.Generator().manual_seed(run.arguments.seed)
    )
    # The baseline has its BatchNorms folded too: what folding them gains is not for pruning to claim.
    keep_all = Plan(model=run.chain.model)
    whole = apply(run.model, keep_all)
    whole.set_lambda(0.0)
    programs = {"baseline": run.device.load(merge(whole), images), "pruned": run.device.load(merged, images)}
    timings = time_interleaved(programs, seconds=_VERDICT_SECONDS, seed=run.arguments.seed, progress=run.watch)
    networks = {}
    for name, network, plan in (("baseline", run.model, keep_all), ("pruned", merged, run.plan)):
        networks[name] = NetworkResult(
            accuracy=held_out_accuracy(run, network),
            latency=timings.measurement(name),
            predicted_ms=run.profile.latency_ms(plan),
            predicted_interval_ms=run.profile.interval_ms(plan),
            parameters=sum(parameter.numel() for parameter in network.parameters()),
            blocks=run.chain.counts(plan),
        )
    result = RunResult(
        model=run.chain.model,
        setting=run.profile.setting,
        budget_ms=run.budget.latency_ms,
        budget_ratio=run.budget.ratio,
        budget_met=run.budget.is_met(timings, "pruned", "baseline"),
        measured_ratio=timings.ratio("pruned", "baseline"),
        baseline=networks["baseline"],
        pruned=networks["pruned"],
        accuracy_without_training=held_out_accuracy(run, untrained),
        parity=json.loads(run.folder["parity.json"].read_text()),
        plan=dict(run.plan.choices),
        num_evaluations=len(json.loads(run.folder["search.json"].read_text())["evaluated"]),
        seconds=run.folder.seconds(),
    )
    result.save(run.folder["result.json"])


def report_stage(run: Run) -> None:
    """The page that a person reads."""
    write_report(run.folder)


STAGES: Final[dict[str, Stage]] = {
    "profile": profile_stage,
    "finetune": finetune_stage,
    "supernet": supernet_stage,
    "search": search_stage,
    "front": front_stage,
    "train": train_stage,
    "merge": merge_stage,
    "measure": measure_stage,
    "report": report_stage,
    "masks": mask_stage,
    "hand over": hand_over_stage,
    "judge": judge_stage,
}


# What all processes of a run do together; the rest is done by the first alone while the others wait.
_TOGETHER: Final = ("finetune", "supernet", "train", "masks")


def carry_out(run: Run, names: Sequence[str]) -> None:
    """Carries out those of the stages that are not done yet, and notes how long each took.

    Of several processes, those that do not lead take part in what is trained, and leave when there is no more of it.
    """
    if run.world.leads:
        run.tell_of_weights()
        tell_of_bad_images(run.arguments, run.folder[BAD_IMAGES])
    for name in names:
        together = name in _TOGETHER
        if not (run.world.leads or together):
            continue
        left = not run.folder.is_done(name)
        if together:
            left = bool(run.world.told(left))
        if not left:
            log.info("%s: done before", name)
            continue
        started, done = time.monotonic(), False
        try:
            with run.watch.stage(name):
                STAGES[name](run)
            done = True
        finally:
            if run.world.leads:
                run.folder.note(name, seconds=time.monotonic() - started, done=done)


def _trained(run: Run) -> Cut:
    """The cut network as its training left it, closed; the same each time it is asked for."""
    cut = trained(run).to(run.world.device)
    close(cut, run.data, run.train_settings(run.arguments.progressive_epochs))
    return cut.cpu()
