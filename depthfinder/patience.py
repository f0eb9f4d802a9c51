"""Limits how long a step may go on after a signal, even where the main thread is inside the code of a library.

Python runs the handler of a signal between two of its own instructions. While one call computes, such as a solver or an
export, no handler runs. So a second thread reads signals from a pipe, which the interpreter writes to at once.
"""

import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console

PATIENCE_S: Final = 6.0
"""Seconds of the main thread on the processor that a step may take to end after a signal."""
_UNWINDING_S: Final = 3.0
"""Seconds that Python has to end the process by itself after that."""
_LOOK_S: Final = 0.1
_HEARD: Final = (signal.SIGINT, signal.SIGTERM)
_pipes: list[int] = []


@contextmanager
def bounded() -> Iterator[None]:
    """Makes SIGINT and SIGTERM end the process inside `with` within ten seconds of processor time; a second, at once.

    The handlers are the caller's. A step that takes longer gets the signal a second time, and the handler should then
    raise. If the main thread does not come to run it, the process ends without unwinding, with the status 128 plus the
    number of the signal. Files stay whole, as when a process is killed.
    """
    heard, written = os.pipe()
    os.set_blocking(written, False)
    before = signal.set_wakeup_fd(written, warn_on_full_buffer=False)
    _pipes.append(written)
    thread = threading.Thread(target=_overlook, args=(heard, _main_clock()), daemon=True)
    thread.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        _pipes.remove(written)
        os.close(written)
        thread.join()
        os.close(heard)


def _overlook(heard: int, clock: Callable[[], float]) -> None:
    first = _next_signal(heard, None)
    if first is None:
        return
    began = clock()
    while (again := _next_signal(heard, _LOOK_S)) == 0:
        if clock() - began > PATIENCE_S:
            os.kill(os.getpid(), first)
    if again is None:
        return
    # A second signal: Python's handler raises, and leaving closes the pipe, unless the main thread is in one long call.
    left = time.monotonic() + _UNWINDING_S
    while (wait := left - time.monotonic()) > 0:
        if _next_signal(heard, wait) is None:
            return
    Console(stderr=True).show_cursor(True)
    print(f"stopped by {signal.Signals(again).name} in the middle of a step; the same command goes on", file=sys.stderr)
    sys.stderr.flush()
    os._exit(128 + again)


def _next_signal(heard: int, wait_s: float | None) -> int | None:
    """The number of the next signal; 0 if none comes in time, None when the pipe is closed."""
    ready, _, _ = select.select([heard], [], [], wait_s)
    if not ready:
        return 0
    number = os.read(heard, 1)
    if not number:
        return None
    return number[0] if number[0] in _HEARD else _next_signal(heard, wait_s)


def _main_clock() -> Callable[[], float]:
    """Returns a clock of the main thread's processor time, or of the wall where the system has no such clock."""
    if not hasattr(time, "pthread_getcpuclockid"):
        return time.monotonic
    identity = time.pthread_getcpuclockid(threading.get_ident())
    return lambda: time.clock_gettime(identity)


def _leave_the_pipe() -> None:
    """Detaches a forked process from the pipe, whose other end is a thread that it does not have."""
    if _pipes:
        signal.set_wakeup_fd(-1)


os.register_at_fork(after_in_child=_leave_the_pipe)
