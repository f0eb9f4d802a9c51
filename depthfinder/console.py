"""Shows the progress of a run, writes its log, and stops it when a signal comes."""

import logging
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from depthfinder.patience import bounded

log = logging.getLogger("depthfinder")


class Stopped(BaseException):
    """Raised when a signal has stopped the run. Everything up to the last step is saved.

    Attributes:
        exit_status: 128 and the number of the signal, with which the process ends.
    """

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.exit_status = 128 + number


class Watch:
    """Shows the progress of stages, by a bar where there is a terminal, and stops them when a signal has come.

    Example:
        >>> watch = Watch(shown=False)
        >>> with watch.stage("search"):
        ...     watch(1, 128, "the best so far: 0.91")
    """

    def __init__(self, *, shown: bool = True) -> None:
        """Makes a watch without a stage.

        Args:
            shown: Whether there is a bar; of several processes only the first has one.
        """
        self._shown = shown
        self._signal: int | None = None
        self._bar: Progress | None = None

    def __call__(self, done: int, total: int, note: str) -> None:
        """Shows how far the stage is. It is to be called between two steps.

        Args:
            done: The steps done.
            total: The steps in all.
            note: What to show beside the bar.

        Raises:
            Stopped: when a signal has come.
        """
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=done, total=total, note=note)
        if self._signal is not None:
            raise Stopped(self._signal)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Runs one stage of the run inside `with`: it has a bar of its own, and is named and timed in the log.

        Raises:
            Stopped: when a signal came in the last step of the stage before.
        """
        if self._signal is not None:
            raise Stopped(self._signal)
        log.info("%s ...", name)
        started = time.monotonic()
        columns = (
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", markup=False),
        )
        console = Console(stderr=True)
        with Progress(
            *columns, console=console, disable=not (self._shown and console.is_terminal), transient=True
        ) as bar:
            bar.add_task(name, total=None, note="")
            self._bar = bar
            try:
                yield
            finally:
                self._bar = None
        log.info("%s: done in %.0f s", name, time.monotonic() - started)

    @contextmanager
    def signals(self) -> Iterator[None]:
        """Makes SIGINT and SIGTERM stop the run inside `with` after the current step, with everything saved.

        A second signal stops at once, and so does a step that takes longer than `patience.PATIENCE_S` of processor
        time.
        """
        if threading.current_thread() is not threading.main_thread():
            yield  # signals are the main thread's
            return
        before = {number: signal.signal(number, self._asked) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            with bounded():
                yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _asked(self, number: int, frame: FrameType | None) -> None:
        if self._signal is not None:
            raise Stopped(number)
        self._signal = number
        print("stopping after this step; once more stops at once", file=sys.stderr)


class _ToStderr(logging.Handler):
    """Looks up `sys.stderr` for every line, because lines have to pass above a bar while one is shown."""

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), file=sys.stderr)


def log_to(path: Path | None) -> None:
    """Sends the log to stderr and, with the time of each line, to the end of the file at `path` if one is given."""
    log.setLevel(logging.INFO)
    log.handlers = [_ToStderr()]
    if path is not None:
        file = logging.FileHandler(path, encoding="utf-8")
        file.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
        log.addHandler(file)


def log_warnings() -> None:
    """Sends warnings alone to stderr; of several processes, all but the first do so."""
    log.setLevel(logging.WARNING)
    log.handlers = [_ToStderr()]
