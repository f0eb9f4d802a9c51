"""How a training goes, as it is told: a line for every epoch, a file, and TensorBoard if asked for."""

import csv
import dataclasses
import io

from depthfinder.console import log
from depthfinder.run import Run
from profiles.files import write_whole
from pruner.training.curve import Epoch

HEADINGS = tuple(field.name for field in dataclasses.fields(Epoch))


class Curves:
    """Watches one training of a run."""

    def __init__(self, run: Run, name: str) -> None:
        """Raises `DataError` when TensorBoard is asked for and not installed."""
        self._run, self._name = run, name
        self._writer = None
        if run.arguments.log_tensorboard and run.world.leads:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(run.folder["tensorboard"] / name))

    def __call__(self, epochs: tuple[Epoch, ...]) -> None:
        """Tells of the last epoch, and writes all of them."""
        last = epochs[-1]
        if not self._run.world.leads:
            return
        log.info("%s", line(self._name, last))
        write_whole(self._run.folder[f"{self._name}.csv"], as_csv(epochs))
        if self._writer is not None:
            for what in ("loss", "accuracy", "lr"):
                self._writer.add_scalar(what, getattr(last, what), last.index)
            self._writer.flush()


def line(name: str, epoch: Epoch) -> str:
    """One epoch, in columns that stand below those of the epoch before."""
    note = f"  {epoch.note}" if epoch.note else ""
    return (
        f"{name} epoch {epoch.index:>3}/{epoch.epochs}  loss {epoch.loss:7.4f}  accuracy {epoch.accuracy:7.2%}  "
        f"lr {epoch.lr:.1e}{note}  {epoch.images_per_s:6.0f} images/s  {_time(epoch.seconds_left)} left"
    )


def as_csv(epochs: tuple[Epoch, ...]) -> str:
    """All epochs as a table."""
    text = io.StringIO()
    writer = csv.DictWriter(text, HEADINGS)
    writer.writeheader()
    writer.writerows(dataclasses.asdict(epoch) for epoch in epochs)
    return text.getvalue()


def read_csv(text: str) -> tuple[Epoch, ...]:
    """What `as_csv` wrote."""
    kinds = {field.name: field.type for field in dataclasses.fields(Epoch)}
    return tuple(
        Epoch(**{name: kinds[name](value) for name, value in row.items()})  # type: ignore[operator]
        for row in csv.DictReader(io.StringIO(text))
    )


def _time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
