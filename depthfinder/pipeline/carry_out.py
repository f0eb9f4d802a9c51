"""Carries out stages. Each reads the results of earlier stages from the run's folder, and leaves its own there."""

import time
from collections.abc import Sequence

from depthfinder.console import log
from depthfinder.folder.stages import STAGES, loaded
from depthfinder.pipeline.datasets import BAD_IMAGES, tell_of_bad_images, tell_of_reading
from depthfinder.pipeline.run import Run


def check(run: Run, names: Sequence[str]) -> None:
    """Checks before any work that the stages can be carried out. Raises the error of the first check that fails."""
    for place in dict.fromkeys(STAGES[name].checks for name in names):
        if place is not None:
            loaded(place)(run)


def carry_out(run: Run, names: Sequence[str]) -> None:
    """Carries out the stages that are not done yet, and notes how long each took.

    Of several processes the first carries out all stages, and the others take part in the shared ones alone.
    """
    if run.world.is_main:
        tell_of_reading(run.catalogue)
        tell_of_bad_images(run.config.data, run.folder[BAD_IMAGES])
    for stage in (STAGES[name] for name in names):
        if not (run.world.is_main or stage.is_shared):
            continue
        left = not run.folder.is_done(stage.name)
        if stage.is_shared:
            left = bool(run.world.broadcast(left))
        if not left:
            log.info("%s: done before", stage.name)
            continue
        started, done = time.monotonic(), False
        try:
            with run.watch.stage(stage.name):
                loaded(stage.does)(run)
            done = True
        finally:
            if run.world.is_main:
                run.folder.note(stage.name, seconds=time.monotonic() - started, done=done)
