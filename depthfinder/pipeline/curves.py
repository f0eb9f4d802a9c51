"""Reports the epochs of a training: a line in the log, a CSV file, and TensorBoard if asked for."""

from collections.abc import Iterator
from contextlib import contextmanager

from depthfinder.console import log
from depthfinder.folder.curve_file import as_csv
from depthfinder.folder.run_folder import RunFolder
from depthfinder.pipeline.tensorboard import TensorBoardCurves
from profiles.files import write_whole
from pruner.training.curve import Epoch, Watcher


@contextmanager
def told(name: str, folder: RunFolder, *, is_main: bool, on_tensorboard: bool) -> Iterator[Watcher]:
    """Yields a function that is to be called with all epochs so far after each epoch of a training.

    Args:
        name: The name of the training, which its CSV file has too.
        folder: The folder of the run.
        is_main: Whether this is the first of the processes that train together; the others report nothing.
        on_tensorboard: Whether to write curves for TensorBoard too.

    Raises:
        TensorBoardMissingError: after the first epoch, when TensorBoard is asked for and not installed; runs are
            checked for it before.
    """
    board = TensorBoardCurves(folder["tensorboard"] / name) if on_tensorboard else None

    def tell(epochs: tuple[Epoch, ...]) -> None:
        if not is_main:
            return
        log.info("%s", line(name, epochs[-1]))
        write_whole(folder[f"{name}.csv"], as_csv(epochs))
        if board is not None:
            board(epochs)

    try:
        yield tell
    finally:
        if board is not None:
            board.close()


def line(name: str, epoch: Epoch) -> str:
    """Returns the line of one epoch in the log. Its columns line up with those of other epochs."""
    note = f"  {epoch.note}" if epoch.note else ""
    return (
        f"{name} epoch {epoch.index:>3}/{epoch.epochs}  loss {epoch.loss:7.4f}  accuracy {epoch.accuracy:7.2%}  "
        f"lr {epoch.lr:.1e}{note}  {epoch.images_per_s:6.0f} images/s  {_time(epoch.seconds_left)} left"
    )


def _time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
