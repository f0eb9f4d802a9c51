"""The stage of the latency tables: it takes the table that was named, the newest that matches, or a new one."""

from pathlib import Path

from depthfinder.console import log
from depthfinder.folder.table_origin import origin_of
from depthfinder.pipeline.another_head import table_of_another_head, with_head_of
from depthfinder.pipeline.run import Run
from depthfinder.pipeline.target import Target
from depthfinder.pipeline.unseen_sizes import predicted_from_other_sizes
from latency.profiler import profile
from profiles.profile import Profile
from profiles.store import free_path, matching_profile, near_profiles, outdated_profiles
from profiles.writing import save_profile


def profile_stage(run: Run) -> None:
    """Writes the latency table of every device of the run into its folder."""
    for target in run.targets:
        found = _table(run, target)
        save_profile(found, target.table)
        log.info("baseline on %s: %.3f ms by the table. %s", target.name, found.baseline_ms, origin_of(found))


def _table(run: Run, target: Target) -> Profile:
    """The table that was named; else a borrowed one for a device that is not here; else the newest that was measured
    in the same setting, or a new one."""
    if target is run.target and run.named_table is not None:
        return _as_named(run, run.named_table)
    if not target.is_here:
        table = run.borrowed_tables[target.name]
        log.info("%s is not here: going by %s; nothing is measured on it", target.name, table.text)
        return table.profile if table.path is not None else _shared(run, table.profile)
    return _known(run, target) or _made(run, target)


def _as_named(run: Run, table: Profile) -> Profile:
    """The table that was named, with the head measured again where it is of a network with another head."""
    path = str(run.target.measure.profile)
    log.info("going by the profile %s, %s %s", path, table.origin, table.created)
    return table if table.fingerprint == run.chain.fingerprint else _with_own_head(run, run.target, Path(path), table)


def _known(run: Run, target: Target) -> Profile | None:
    """The newest table of this network that was measured in the same setting; None without one."""
    known = matching_profile(
        run.profiles_root,
        run.chain.fingerprint,
        target.setting,
        required=run.offer.required,
        wanted=run.offer.wanted,
    )
    if known is None:
        return None
    path, found = known
    log.info("continuing from the profile %s, measured %s: no block is measured again", path, found.created)
    lacking = sorted({choice for row, choice in run.offer.wanted if not found.has_row(row, choice)})
    if lacking:
        log.info(
            "it has no rows for %s, which are not offered; `depthfinder profile` again measures them",
            ", ".join(lacking),
        )
    return found


def _made(run: Run, target: Target) -> Profile:
    """A new table: from one of the network with another head, predicted from other sizes, or measured as a whole."""
    like = table_of_another_head(run.profiles_root, run.chain.fingerprint, target.setting)
    if like is not None:
        return _with_own_head(run, target, *like)
    return predicted_from_other_sizes(run, target) or _measured(run, target)


def _measured(run: Run, target: Target) -> Profile:
    setting = target.setting
    for why in outdated_profiles(run.profiles_root, run.chain.model, setting):
        log.info("%s", why)
    for path, differences in near_profiles(run.profiles_root, run.chain.fingerprint, setting)[:1]:
        log.info("%s is of this network in another setting (%s): measuring anew", path, "; ".join(differences))
    found = profile(
        run.uncut.network,
        target.device,
        batch_size=target.measure.batch_size,
        max_seconds=target.measure.max_seconds,
        seed=run.config.seed,
        model_kwargs=run.uncut.made_with,
        extra_choices=run.config.search.extra_choices,
        progress=run.watch,
    )
    if found.conditions is not None and found.conditions.noise is not None:
        log.info("the machine was not steady: %s", found.conditions.noise)
    return _shared(run, found)


def _with_own_head(run: Run, target: Target, path: Path, table: Profile) -> Profile:
    return _shared(run, with_head_of(run.uncut, target.device, path, table, run.config.seed, run.watch))


def _shared(run: Run, table: Profile) -> Profile:
    """The table, saved among those that all runs share."""
    save_profile(table, free_path(run.profiles_root, table, run.offer.requested))
    return table
