"""Writes the curves of a training for TensorBoard, which is optional."""

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
    """Checks that TensorBoard is installed. Raises `TensorBoardMissingError` when it is not."""
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

    The first call writes all epochs so far, and a mark that makes TensorBoard discard the points of earlier files. So a
    training that was resumed has every point once, even where curves were not asked for from the start.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writer: Any = None

    def __call__(self, epochs: tuple[Epoch, ...]) -> None:
        """Writes the epochs that are not written yet, given all so far. Raises `TensorBoardMissingError`."""
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
        """Closes the file. It is to be called when the training ends, by an error too."""
        if self._writer is not None:
            self._writer.close()
