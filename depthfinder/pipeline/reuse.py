"""Trainings and fits that another run in the same output folder has made of the very same settings: taken from there.

A search for another budget, or under another name, goes by the same weights: what they depend on is in a checkpoint's
identity, so one with the same identity is the same training.
"""

import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path

from depthfinder.console import log
from depthfinder.folder.run_folder import RunFolder
from depthfinder.pipeline.run import Run
from pruner.models.checkpoint import CheckpointFile
from pruner.training.settings import TrainSettings


def made_before(run: Run, stage: str, settings: TrainSettings) -> Iterator[tuple[RunFolder, CheckpointFile]]:
    """The other runs whose stage is done and left a checkpoint of this very identity, the newest first.

    Args:
        run: The run that would do the stage; one that has begun it itself goes on with that.
        stage: A stage that leaves a checkpoint of its name.
        settings: What its training goes by.
    """
    own = run.checkpoint(stage, settings)
    if own.path.exists():
        return
    others = [path.parent for path in run.folder.path.parent.glob("*/state.json") if path.parent != run.folder.path]
    for path in sorted(others, key=lambda other: (other / "state.json").stat().st_mtime, reverse=True):
        other = RunFolder(path)
        file = dataclasses.replace(own, path=other.checkpoint(stage))
        if other.is_done(stage) and file.is_of_this_training():
            yield other, file


def take_over(run: Run, stage: str, settings: TrainSettings) -> bool:
    """Whether a training was taken from another run; of several processes the first alone takes it."""
    source = next(made_before(run, stage, settings), None) if run.world.is_main else None
    if source is not None:
        copy_from(run, stage, source[0])
        log.info("%s: as trained in %s, not trained again", stage, source[0].path)
    return bool(run.world.broadcast(int(source is not None)))


def copy_from(run: Run, stage: str, other: RunFolder) -> None:
    """Copies a stage's checkpoint, and its curve if there is one, whole or not at all."""
    names = [run.folder.checkpoint(stage).relative_to(run.folder.path), Path(f"{stage}.csv")]
    for name in reversed(names):
        if other[str(name)].is_file():
            written = run.folder[f"{name}.writing"]
            shutil.copyfile(other[str(name)], written)
            written.replace(run.folder[str(name)])
