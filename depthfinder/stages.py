"""The stages of a run, in order: each reads what the ones before it left in the run folder, and leaves its own."""

import dataclasses
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from depthfinder.another_head import table_of_another_head, with_head_of
from depthfinder.baseline_stage import baseline_stage, finetuned_stage
from depthfinder.console import log
from depthfinder.datasets import BAD_IMAGES, tell_of_bad_images, tell_of_reading
from depthfinder.fit_stage import fit_stage
from depthfinder.front_stage import front_stage
from depthfinder.held_out import held_out_images
from depthfinder.mask_stages import hand_over_stage, judge_stage, mask_stage
from depthfinder.measure_stage import measure_stage
from depthfinder.report import write_report
from depthfinder.run import Run, Stage
from depthfinder.search_stage import search_stage
from depthfinder.table_origin import origin_of
from depthfinder.training_stages import closed, finetune_stage, supernet_stage, train_stage
from depthfinder.unseen_sizes import predicted_from_other_sizes
from latency.export import export_onnx, export_safetensors
from latency.profiler import profile
from profiles.files import write_whole
from profiles.profile import Profile
from profiles.store import free_path, matching_profile, near_profiles, outdated_profiles, save_profile
from pruner.surgery import merge
from pruner.trained_on import ENTRY

_PARITY_IMAGES: Final = 1_000


def profile_stage(run: Run) -> None:
    """The latency table of every device that has a budget."""
    for one in (run, *run.others):
        found = _table(one)
        save_profile(found, run.folder[one.table])
        log.info(
            "baseline on %s: %.3f ms by the table. %s",
            one.arguments.device,
            found.baseline_ms,
            origin_of(found),
        )


def _table(run: Run) -> Profile:
    """The table that was named; else the newest that was measured in this very setting, or a new one; for a device that
    is not here, one that was not measured here either."""
    arguments = run.arguments
    if run.named_table is not None:
        log.info("going by the profile %s, %s %s", arguments.profile, run.named_table.origin, run.named_table.created)
        if run.named_table.fingerprint == run.chain.fingerprint:
            return run.named_table
        found = with_head_of(run, Path(str(arguments.profile)), run.named_table)
        save_profile(found, free_path(run.profiles_root, found, run.requested))
        return found
    if not run.device_is_here:
        table = run.table_from_elsewhere
        log.info("%s is not here: going by %s; nothing is measured on it", arguments.device, table.text)
        if table.path is None:
            save_profile(table.profile, free_path(run.profiles_root, table.profile, run.requested))
        return table.profile
    setting = run.device.setting(arguments.batch_size)
    known = matching_profile(
        run.profiles_root, run.chain.fingerprint, setting, required=run.required, wanted=run.rows_of(arguments.also)
    )
    like = None if known is not None else table_of_another_head(run)
    predicted = None if known is not None or like is not None else predicted_from_other_sizes(run)
    if known is not None:
        path, found = known
        log.info("continuing from the profile %s, measured %s: no block is measured again", path, found.created)
        lacking = sorted({choice for row, choice in run.rows_of(arguments.also) if not found.has_row(row, choice)})
        if lacking:
            log.info(
                "it has no rows for %s, which are not offered; `depthfinder profile` again measures them",
                ", ".join(lacking),
            )
    elif like is not None:
        found = with_head_of(run, *like)
        save_profile(found, free_path(run.profiles_root, found, run.requested))
    elif predicted is not None:
        found = predicted
    else:
        for why in outdated_profiles(run.profiles_root, run.chain.model, setting):
            log.info("%s", why)
        for path, differences in near_profiles(run.profiles_root, run.chain.fingerprint, setting)[:1]:
            log.info("%s is of this network in another setting (%s): measuring anew", path, "; ".join(differences))
        found = profile(
            run.untuned,
            run.device,
            batch_size=arguments.batch_size,
            max_seconds=arguments.max_seconds,
            seed=arguments.seed,
            model_kwargs=run.made_with,
            also=arguments.also,
            progress=run.watch,
        )
        if found.conditions is not None and found.conditions.noise is not None:
            log.info("the machine was not steady: %s", found.conditions.noise)
        save_profile(found, free_path(run.profiles_root, found, run.requested))
    return found


def merge_stage(run: Run) -> None:
    """The merged network, as ONNX and safetensors, compared in both runtimes on test images."""
    merged = merge(closed(run))
    learnt_from = {ENTRY: run.images.to_json()}
    export_safetensors(merged, run.folder["merged.safetensors"], run.plan, learnt_from)
    images = held_out_images(run.data, _PARITY_IMAGES)
    parity = export_onnx(merged, run.folder["merged.onnx"], images, plan=run.plan, metadata=learnt_from)
    log.info(
        "merged.onnx: the same top-1 as PyTorch on %d of %d images, logits within %.1e",
        parity.same_top1,
        parity.images,
        parity.largest_difference,
    )
    write_whole(run.folder["parity.json"], json.dumps(dataclasses.asdict(parity), indent=1) + "\n")


def report_stage(run: Run) -> None:
    """The page that a person reads."""
    write_report(run.folder)


STAGES: Final[dict[str, Stage]] = {
    "baseline": baseline_stage,
    "profile": profile_stage,
    "finetune": finetune_stage,
    "finetuned": finetuned_stage,
    "supernet": supernet_stage,
    "fits": fit_stage,
    "search": search_stage,
    "front": front_stage,
    "train": train_stage,
    "merge": merge_stage,
    "measure": measure_stage,
    "report": report_stage,
    "mask report": report_stage,
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
        tell_of_reading(run.catalogue)
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
