"""The curves of a training for TensorBoard, which need not be installed."""

from pathlib import Path
from typing import Any, Final

from depthfinder.errors import TensorBoardMissingError
from pruner.training.curve import Epoch

_FIRST_EPOCH: Final = 1
_SCALARS: Final = {
    "loss": "loss",
    "accuracy": "accuracy",
    "lr": "lr",
    "images_per_s": "images_per_s",
    "lam": "lambda",
}


def check_installed() -> None:
    """Raises `TensorBoardMissingError` when TensorBoard is not installed."""
    try:
        import tensorboard  # noqa: F401
    except ModuleNotFoundError as error:
        if error.name != "tensorboard":
            raise
        raise TensorBoardMissingError(
            '--log-tensorboard needs TensorBoard, which is not installed: pip install "depthfinder[tensorboard]"'
        ) from error


class TensorBoardCurves:
    """Writes the epochs of one training to an event file in `folder`.

    The first time it is told of epochs it writes all of them, and a mark by which TensorBoard forgets what files of
    before say of these epochs: a training that was taken up again has every point once, and those too from the time
    before it was asked for curves.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writer: Any = None

    def __call__(self, epochs: tuple[Epoch, ...]) -> None:
        """Writes those of the epochs so far that it has not written. Raises `TensorBoardMissingError`."""
        new = epochs[-1:]
        if self._writer is None:
            check_installed()
            from torch.utils.tensorboard import SummaryWriter

            self._writer, new = SummaryWriter(str(self._folder), purge_step=_FIRST_EPOCH), epochs
        for epoch in new:
            for field, tag in _SCALARS.items():
                value = getattr(epoch, field)
                if value is not None:
                    self._writer.add_scalar(tag, value, epoch.index)
        self._writer.flush()

    def close(self) -> None:
        """Closes the file; to be called however the training ended."""
        if self._writer is not None:
            self._writer.close()
