"""The stage of the latency table: the one that was named, the newest that matches, or a new one."""

from pathlib import Path

from depthfinder.console import log
from depthfinder.folder.table_origin import origin_of
from depthfinder.pipeline.another_head import table_of_another_head, with_head_of
from depthfinder.pipeline.run import Run
from depthfinder.pipeline.unseen_sizes import predicted_from_other_sizes
from latency.profiler import profile
from profiles.profile import Profile
from profiles.store import free_path, matching_profile, near_profiles, outdated_profiles, save_profile


def profile_stage(run: Run) -> None:
    """The latency table of every device that has a budget."""
    for one in (run, *run.others):
        found = _table(one)
        save_profile(found, run.folder[one.table])
        log.info(
            "baseline on %s: %.3f ms by the table. %s",
            one.config.measure.device,
            found.baseline_ms,
            origin_of(found),
        )


def _table(run: Run) -> Profile:
    """The table that was named; else the newest that was measured in this very setting, or a new one; for a device that
    is not here, one that was not measured here either."""
    asked = run.config
    if run.named_table is not None:
        log.info(
            "going by the profile %s, %s %s", asked.measure.profile, run.named_table.origin, run.named_table.created
        )
        if run.named_table.fingerprint == run.chain.fingerprint:
            return run.named_table
        found = with_head_of(run, Path(str(asked.measure.profile)), run.named_table)
        save_profile(found, free_path(run.profiles_root, found, run.requested))
        return found
    if not run.device_is_here:
        table = run.table_from_elsewhere
        log.info("%s is not here: going by %s; nothing is measured on it", asked.measure.device, table.text)
        if table.path is None:
            save_profile(table.profile, free_path(run.profiles_root, table.profile, run.requested))
        return table.profile
    setting = run.device.setting(asked.measure.batch_size)
    known = matching_profile(
        run.profiles_root,
        run.chain.fingerprint,
        setting,
        required=run.required,
        wanted=run.rows_of(asked.search.extra_choices),
    )
    like = None if known is not None else table_of_another_head(run)
    predicted = None if known is not None or like is not None else predicted_from_other_sizes(run)
    if known is not None:
        path, found = known
        log.info("continuing from the profile %s, measured %s: no block is measured again", path, found.created)
        lacking = sorted(
            {choice for row, choice in run.rows_of(asked.search.extra_choices) if not found.has_row(row, choice)}
        )
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
            batch_size=asked.measure.batch_size,
            max_seconds=asked.measure.max_seconds,
            seed=asked.seed,
            model_kwargs=run.made_with,
            extra_choices=asked.search.extra_choices,
            progress=run.watch,
        )
        if found.conditions is not None and found.conditions.noise is not None:
            log.info("the machine was not steady: %s", found.conditions.noise)
        save_profile(found, free_path(run.profiles_root, found, run.requested))
    return found
