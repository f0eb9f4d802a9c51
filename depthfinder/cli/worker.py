"""The command that the workers of a search run."""

import os
from pathlib import Path
from typing import Annotated

import typer


def worker_command(
    run_folder: Annotated[Path, typer.Argument(help="The folder of a run whose search is under way.")],
    profiles_root: Annotated[Path, typer.Option(help="The folder that holds profiles.")],
) -> None:
    """Evaluates plans for a search that another process leads, until that lets go of this one's standard input."""
    from depthfinder.config.run import RunConfig
    from depthfinder.console import Watch
    from depthfinder.folder.run_folder import RunFolder
    from depthfinder.pipeline.run import Run
    from depthfinder.pipeline.workers import STORAGE_VARIABLE, help_out

    folder = RunFolder(run_folder)
    config = RunConfig.load(folder["args.yaml"])
    help_out(Run(config, folder, profiles_root, Watch(), storage=os.environ.get(STORAGE_VARIABLE)))
