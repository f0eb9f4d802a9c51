"""Predicts the latency table of a network at a batch or image size from its tables at other sizes."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from depthfinder.console import log
from depthfinder.pipeline.run import Run
from depthfinder.pipeline.target import Target
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
    """Returns the tables below `root` that were measured in this setting at any batch size, of any network and size."""
    return [
        profile
        for _, profile in all_profiles(root)
        if not profile.is_predicted and dataclasses.replace(profile.setting, batch_size=setting.batch_size) == setting
    ]


def timed_pieces_of(tables: Sequence[Profile], progress: Progress) -> list[TimedPiece]:
    """Returns all pieces of the tables with their latencies. The networks are built anew to see their operators."""
    pieces: list[TimedPiece] = []
    for done, profile in enumerate(tables):
        progress(done, len(tables), f"reading {profile.model} b{profile.setting.batch_size}")
        pieces += timed_pieces(profile, load_model(profile.model, **profile.model_kwargs))
    return pieces


def predicted_from_other_sizes(run: Run, target: Target) -> Profile | None:
    """Predicts the table of a device from those of other sizes, and of other networks in the same mode.

    The prediction is scaled to the latency of the uncut network, which is measured now.

    Returns:
        The table; None where this network was measured at no other size, or too little was to judge a prediction.
    """
    seed, setting, extra_choices = run.config.seed, target.setting, run.config.search.extra_choices
    tables = tables_in_mode(run.profiles_root, setting)
    if all(profile.model != run.chain.model for profile in tables):
        return None
    pieces = timed_pieces_of(tables, run.watch)
    try:
        found = predicted_profile(
            run.uncut.network,
            setting,
            pieces,
            seed=seed,
            model_kwargs=run.uncut.made_with,
            extra_choices=extra_choices,
            progress=run.watch,
        )
    except ProfileError as error:
        log.info("%s: measuring anew", error)
        return None
    whole = 1 + found.relative_error
    bench = Workbench(run.uncut.network, target.device, setting.batch_size, run.offer.extra_choices)
    uncut = bench.program_of(run.chain.plan({}))
    timings = time_interleaved({"uncut": uncut}, seconds=_UNCUT_SECONDS, seed=seed, progress=run.watch)
    measured = timings.measurement("uncut")
    log.info(
        "not measured at this size: predicted from %d tables of others. The uncut network was predicted to take %.3f "
        "(90 %% interval %.3f to %.3f) and took %.3f ms, to which the table is scaled. `depthfinder profile` with the "
        "same model, device and sizes measures it instead",
        len(tables), found.baseline_ms, found.baseline_ms / whole, found.baseline_ms * whole, measured.latency_ms,
    )  # fmt: skip
    return anchored(found, measured)
