"""A step that was asked to stop ends within ten seconds of processor time, by real signals to real processes."""

import os
import signal
import subprocess
import sys

import pytest

from depthfinder import patience
from depthfinder.console import Stopped, Watch

PROGRAM = """
import hashlib, os, sys, time, typer
from depthfinder import patience
from depthfinder.cli.app import _exit_with_status
from depthfinder.console import Watch

patience.PATIENCE_S, patience._UNWINDING_S = {patience}

application = typer.Typer()

@application.command()
def compute():
    watch = Watch()
    with watch.signals(), watch.stage("compute"):
        print(time.process_time(), flush=True)
        {step}

sys.argv = ["depthfinder"]
_exit_with_status(application)
"""
STEPS = {
    "many instructions": "while True: pass",
    "one call": "hashlib.pbkdf2_hmac('sha256', b'', b'', 2**31 - 1)",
    "one call that waits": "time.sleep(1000)",
}
AS_IT_IS = (patience.PATIENCE_S, patience._UNWINDING_S)
SHORT = (1.0, 1.0)
TO_SPARE_S = 1.0


def started(step: str, waits: tuple[float, float] = SHORT) -> tuple["subprocess.Popen[str]", float]:
    """A process that is in the step, and the processor time that it took to get there."""
    words = [sys.executable, "-c", PROGRAM.format(step=STEPS[step], patience=waits)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, float(process.stdout.readline())


def ended(process: "subprocess.Popen[str]") -> tuple[int, float, str]:
    """Its status, its processor time, and what it said."""
    _, status, used = os.wait4(process.pid, 0)
    assert process.stderr is not None
    return os.waitstatus_to_exitcode(status), used.ru_utime + used.ru_stime, process.stderr.read()


def test_the_waits_leave_ten_seconds_at_the_most() -> None:
    assert sum(AS_IT_IS) + TO_SPARE_S <= 10.0


@pytest.mark.parametrize(
    ("step", "number", "waits"),
    [
        ("many instructions", signal.SIGTERM, SHORT),
        ("many instructions", signal.SIGINT, SHORT),
        ("one call", signal.SIGINT, SHORT),
        ("one call", signal.SIGTERM, SHORT),
        pytest.param("one call", signal.SIGTERM, AS_IT_IS, marks=pytest.mark.grid),
    ],
)
def test_a_step_without_an_end_is_left_in_time(step: str, number: signal.Signals, waits: tuple[float, float]) -> None:
    process, before_s = started(step, waits)
    process.send_signal(number)
    status, used_s, said = ended(process)
    assert status == 128 + number
    assert used_s - before_s < sum(waits) + TO_SPARE_S
    assert f"stopped by {number.name}" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("step", STEPS)
def test_a_second_signal_ends_it_at_once(step: str) -> None:
    """Before the step's patience is at its end, whether Python or a library runs."""
    process, before_s = started(step)
    process.send_signal(signal.SIGTERM)
    assert process.stderr is not None
    if step != "one call":
        while "once more stops at once" not in process.stderr.readline():
            pass
    process.send_signal(signal.SIGTERM)
    status, used_s, said = ended(process)
    assert status == 143
    assert used_s - before_s < sum(SHORT) + TO_SPARE_S
    assert "stopped by SIGTERM" in said


def test_a_step_that_ends_is_not_cut_short() -> None:
    done = []

    def stage() -> None:
        watch = Watch(shown=False)
        with watch.signals():
            for step in ("first", "second"):
                os.kill(os.getpid(), signal.SIGTERM)
                done.append(step)
                watch(1, 2, "")

    with pytest.raises(Stopped, match="stopped by SIGTERM"):
        stage()
    assert done == ["first"]


def test_what_is_forked_off_tells_nobody() -> None:
    """A signal to a helper that was forked within is not taken for a second one here."""
    watch = Watch(shown=False)
    with watch.signals():
        child = os.fork()
        if child == 0:
            os.kill(os.getpid(), signal.SIGINT)
            os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        watch(1, 1, "")
