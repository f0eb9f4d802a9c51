"""How a training went, epoch by epoch."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Epoch:
    """What one epoch came to. `index` counts from 1; `accuracy`, in [0, 1], is that on the calibration images after it;
    `note` tells what else moves; `lam` is the mean lambda of the gates then, None where no gate closes."""

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
        """If the epochs to come take as long as this one."""
        return (self.epochs - self.index) * self.seconds


Watcher = Callable[[tuple[Epoch, ...]], None]
"""Called after every epoch with all epochs so far."""


def nobody(_epochs: tuple[Epoch, ...]) -> None:
    """Watches nothing."""
