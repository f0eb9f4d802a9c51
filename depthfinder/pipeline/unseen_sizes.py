"""The latency table of a network at a batch or image size at which it was not measured, when it was at others."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from depthfinder.console import log
from depthfinder.pipeline.run import Run
from latency.modelled import anchored, predicted_profile, timed_pieces
from latency.predictor.blocks import TimedPiece
from latency.timing import time_interleaved
from latency.workbench import Workbench
from profiles.errors import ProfileError
from profiles.profile import Profile, Setting
from profiles.store import all_profiles
from pruner.models.load import load_model
from pruner.progress import Progress

_UNCUT_SECONDS: Final = 6.0


def tables_in_mode(root: Path, setting: Setting) -> list[Profile]:
    """The tables below `root` that were measured in this setting but for the batch, whatever their network and size."""
    return [
        profile
        for _, profile in all_profiles(root)
        if not profile.is_predicted and dataclasses.replace(profile.setting, batch_size=setting.batch_size) == setting
    ]


def timed_pieces_of(tables: Sequence[Profile], progress: Progress) -> list[TimedPiece]:
    """All their pieces; the networks are built anew to see what they consist of."""
    pieces: list[TimedPiece] = []
    for done, profile in enumerate(tables):
        progress(done, len(tables), f"reading {profile.model} b{profile.setting.batch_size}")
        pieces += timed_pieces(profile, load_model(profile.model, **profile.model_kwargs))
    return pieces


def predicted_from_other_sizes(run: Run) -> Profile | None:
    """The table as predicted from those of other sizes, and of other networks in the same mode, scaled to the uncut
    network as measured now; None where no other size was measured, or too little to judge a prediction by."""
    asked, setting = run.config, run.device.setting(run.config.measure.batch_size)
    tables = tables_in_mode(run.profiles_root, setting)
    if all(profile.model != run.chain.model for profile in tables):
        return None
    pieces = timed_pieces_of(tables, run.watch)
    kwargs = run.made_with
    try:
        found = predicted_profile(
            run.untuned,
            setting,
            pieces,
            seed=asked.seed,
            model_kwargs=kwargs,
            extra_choices=asked.search.extra_choices,
            progress=run.watch,
        )
    except ProfileError as error:
        log.info("%s: measuring anew", error)
        return None
    whole = 1 + found.relative_error
    uncut = Workbench(run.untuned, run.device, asked.measure.batch_size, run.extra_choices).program_of(
        run.chain.plan({})
    )
    timings = time_interleaved({"uncut": uncut}, seconds=_UNCUT_SECONDS, seed=asked.seed, progress=run.watch)
    measured = timings.measurement("uncut")
    log.info(
        "not measured at this size: predicted from %d tables of others. The uncut network was predicted to take %.3f "
        "(90 %% interval %.3f to %.3f) and took %.3f ms, to which the table is scaled. `depthfinder profile` with the "
        "same model, device and sizes measures it instead",
        len(tables), found.baseline_ms, found.baseline_ms / whole, found.baseline_ms * whole, measured.latency_ms,
    )  # fmt: skip
    return anchored(found, measured)
