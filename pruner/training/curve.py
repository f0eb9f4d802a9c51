"""How a training went, epoch by epoch."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Epoch:
    """The figures of one epoch of a training.

    Attributes:
        index: The number of the epoch, from 1.
        epochs: How many epochs the training has.
        loss: The mean loss over the steps of the epoch.
        lr: The learning rate at its end.
        accuracy: The accuracy on the calibration images after it, in [0, 1].
        seconds: How long its steps took, without the reading of images.
        images_per_s: Training images a second, over all processes.
        note: What else changes during the training, in words.
        lam: The mean lambda of the gates at its end; None where no gate closes.
    """

    index: int
    epochs: int
    loss: float
    lr: float
    accuracy: float
    seconds: float
    images_per_s: float
    note: str = ""
    lam: float | None = None

    @property
    def seconds_left(self) -> float:
        """How many seconds the training still takes, if each epoch to come takes as long as this one."""
        return (self.epochs - self.index) * self.seconds


Watcher = Callable[[tuple[Epoch, ...]], None]
"""Called after every epoch with all epochs so far."""


def nobody(_epochs: tuple[Epoch, ...]) -> None:
    """A watcher that does nothing."""
