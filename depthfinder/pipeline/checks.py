"""Checks before any work that a run's network, images and devices are here."""

from depthfinder.pipeline.run import Run
from depthfinder.pipeline.tensorboard import check_installed
from pruner.errors import CheckpointError


def check_inputs(run: Run) -> None:
    """Checks that the network, its weights and the images are here.

    Raises:
        CheckpointError: when the head of the network was never trained and is not to be trained first.
        TensorBoardMissingError: when TensorBoard was asked for and is not installed.
    """
    asked = run.config.train
    if asked.log_tensorboard:
        check_installed()
    _ = run.chain, run.data
    loaded = run.uncut.weights
    if loaded is not None and loaded.new_head and not asked.finetune_epochs:
        raise CheckpointError(
            f"{loaded.source} has weights for other classes than these {run.data.num_classes}: the network's last "
            "layer is new, and has to be trained first; try --finetune-epochs 10"
        )


def check_devices_and_inputs(run: Run) -> None:
    """Checks that every device that has a budget, or a latency table of it, is here; then as `check_inputs` does."""
    for target in run.targets:
        if target.is_here:
            _ = target.device
    _ = run.chain, run.named_table, run.borrowed_tables
    check_inputs(run)
