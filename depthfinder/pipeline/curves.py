"""How a training goes, as it is told: a line for every epoch, a file, and TensorBoard if asked for."""

from collections.abc import Iterator
from contextlib import contextmanager

from depthfinder.console import log
from depthfinder.folder.curve_file import as_csv
from depthfinder.pipeline.run import Run
from depthfinder.pipeline.tensorboard import TensorBoardCurves
from profiles.files import write_whole
from pruner.training.curve import Epoch, Watcher


@contextmanager
def told(run: Run, name: str) -> Iterator[Watcher]:
    """What is to be called after every epoch of one training of a run. Of several processes the first alone tells.

    Raises `TensorBoardMissingError` after the first epoch when TensorBoard is asked for and not installed; a run is
    checked for it before.
    """
    board = TensorBoardCurves(run.folder["tensorboard"] / name) if run.config.train.log_tensorboard else None

    def tell(epochs: tuple[Epoch, ...]) -> None:
        if not run.world.is_main:
            return
        log.info("%s", line(name, epochs[-1]))
        write_whole(run.folder[f"{name}.csv"], as_csv(epochs))
        if board is not None:
            board(epochs)

    try:
        yield tell
    finally:
        if board is not None:
            board.close()


def line(name: str, epoch: Epoch) -> str:
    """One epoch, in columns that stand below those of the epoch before."""
    note = f"  {epoch.note}" if epoch.note else ""
    return (
        f"{name} epoch {epoch.index:>3}/{epoch.epochs}  loss {epoch.loss:7.4f}  accuracy {epoch.accuracy:7.2%}  "
        f"lr {epoch.lr:.1e}{note}  {epoch.images_per_s:6.0f} images/s  {_time(epoch.seconds_left)} left"
    )


def _time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
