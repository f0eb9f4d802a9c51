"""What is found out of a run before any work: whether its network, its images and its devices are here."""

from depthfinder.pipeline.run import Run
from depthfinder.pipeline.tensorboard import check_installed
from pruner.errors import CheckpointError


def check_inputs(run: Run) -> None:
    """The network with its weights, and the images. A head that was never trained is refused, unless it will be."""
    asked = run.config.train
    if asked.log_tensorboard:
        check_installed()
    _ = run.chain, run.data
    loaded = run.weights_from
    if loaded is not None and loaded.new_head and not asked.finetune_epochs:
        raise CheckpointError(
            f"{loaded.source} has weights for other classes than these {run.data.num_classes}: the network's last "
            "layer is new, and has to be trained first; try --finetune-epochs 10"
        )


def check_devices_and_inputs(run: Run) -> None:
    """Every device that has a budget, or a table of it; then the network and the images."""
    for one in (run, *run.others):
        if one.device_is_here:
            _ = one.device, one.chain, one.named_table
        else:
            _ = one.named_table or one.table_from_elsewhere
    check_inputs(run)
