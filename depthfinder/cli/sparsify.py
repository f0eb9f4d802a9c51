"""The command `sparsify`: it finds masks over blocks of weights, channels or N of M, by SMART or a baseline of it."""

from typing import TYPE_CHECKING, Final

import typer

from depthfinder.cli.demo import tell_of_demo
from depthfinder.cli.flags import Typed
from depthfinder.cli.requests import FolderRequest
from depthfinder.config.data import DataConfig
from depthfinder.config.files import checked
from depthfinder.config.masks import MaskConfig
from depthfinder.config.measure import TableConfig
from depthfinder.config.model import ModelConfig
from depthfinder.config.resolved import sparsify_config
from depthfinder.config.run import RunConfig, Seeded
from depthfinder.config.train import LearningConfig
from depthfinder.pipeline.job import Job
from latency.device_names import check_device_name

if TYPE_CHECKING:
    pass

EPILOG_SPARSIFY: Final = "Example: depthfinder sparsify --method smart --granularity 16x8x1x1 --sparsity 0.5"
SPARSIFY_TAKES: Final = (ModelConfig, MaskConfig, DataConfig, LearningConfig, TableConfig, Seeded, FolderRequest)
SPARSIFY_SECONDS: Final = 12.0


def sparsify_command(typed: Typed) -> None:
    """Finds groups of weights that a network can do without, and trains it without them.

    Without --model it takes the demo: a trained 12-block DeiT on images made of handwritten digits.

    Channels are removed, and both networks measured; blocks and N of M are masked, and gain time only on hardware and
    kernels that skip zeros. The same command again resumes where it was stopped.
    """
    from depthfinder.folder.stages import MASK_STAGES
    from depthfinder.report.finished import show_result

    request, config = checked(FolderRequest, typed), sparsify_config(typed)
    job = Job(config, request.output, request.experiment, None, _check_words)
    folder = job.folder
    if "model" not in typed:
        tell_of_demo("no --model given", config)
    outcome = job.carry_out(MASK_STAGES)
    if outcome == "helped":
        raise typer.Exit
    finished = outcome == "done before"
    text = folder["result.json"].read_text(encoding="utf-8")
    if request.as_json:
        print(text, end="")
        return
    if finished:
        print(f"this is finished already: {folder.path}")
    show_result(folder)


def _check_words(config: RunConfig) -> None:
    from depthfinder.pipeline.at_once import check_inputs

    check_device_name(config.measure.device)
    check_inputs(config.data, config.network.checkpoint)
