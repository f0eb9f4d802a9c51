"""Reuses trainings and fits that another run in the same output folder has made with the same settings.

A search for another budget, or under another name, uses the same weights. The identity of a checkpoint has all that its
weights depend on, so checkpoints of one identity are of the same training.
"""

import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path

from depthfinder.console import log
from depthfinder.folder.run_folder import RunFolder
from pruner.models.checkpoint import CheckpointFile
from pruner.training.world import World


def made_before(stage: str, own: CheckpointFile, folder: RunFolder) -> Iterator[tuple[RunFolder, CheckpointFile]]:
    """Yields the other runs whose stage is done and left a checkpoint of the same identity, the newest first.

    Args:
        stage: A stage that leaves a checkpoint of its name.
        own: The checkpoint that this run would leave. Where it exists, nothing is yielded: the run goes on with it.
        folder: The folder of this run; the others lie beside it.

    Returns:
        The folder of each run, and its checkpoint.
    """
    if own.path.exists():
        return
    others = [path.parent for path in folder.path.parent.glob("*/state.json") if path.parent != folder.path]
    for path in sorted(others, key=lambda other: (other / "state.json").stat().st_mtime, reverse=True):
        other = RunFolder(path)
        file = dataclasses.replace(own, path=other.checkpoint(stage))
        if other.is_done(stage) and file.is_of_this_training():
            yield other, file


def take_over(stage: str, own: CheckpointFile, folder: RunFolder, world: World) -> bool:
    """Takes a training from another run, if one has it, and returns whether one had.

    Of several processes the first alone copies it.
    """
    source = next(made_before(stage, own, folder), None) if world.is_main else None
    if source is not None:
        copy_from(stage, source[0], folder)
        log.info("%s: as trained in %s, not trained again", stage, source[0].path)
    return bool(world.broadcast(int(source is not None)))


def copy_from(stage: str, other: RunFolder, folder: RunFolder) -> None:
    """Copies a stage's checkpoint from another run's folder, and its curve if there is one.

    No file is left half copied, and the checkpoint comes last.
    """
    names = [folder.checkpoint(stage).relative_to(folder.path), Path(f"{stage}.csv")]
    for name in reversed(names):
        if other[str(name)].is_file():
            written = folder[f"{name}.writing"]
            shutil.copyfile(other[str(name)], written)
            written.replace(folder[str(name)])
