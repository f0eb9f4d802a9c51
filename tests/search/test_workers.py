"""Several processes at one study: they find what one would have found, and no plan is evaluated twice."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ONE_WORKER = Path(__file__).parent.parent / "helpers" / "one_worker.py"
ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"}
N_TRIALS = 28


def worker(folder: Path, seconds: str, peers: int) -> "subprocess.Popen[str]":
    words = [
        sys.executable,
        str(ONE_WORKER),
        str(folder / "study.journal"),
        str(folder / "counts"),
        seconds,
        str(peers),
    ]
    return subprocess.Popen(words, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True)


def result_of(process: "subprocess.Popen[str]") -> object:
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    return json.loads(out.splitlines()[-1])


def evaluated(folder: Path) -> list[str]:
    return (folder / "counts").read_text().splitlines()


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> tuple[object, list[str]]:
    """What one process finds by itself, and the plans that it evaluates."""
    folder = tmp_path_factory.mktemp("alone")
    return result_of(worker(folder, "0", 1)), evaluated(folder)


def test_one_alone_evaluates_every_plan_once(alone: tuple[object, list[str]]) -> None:
    _, plans = alone
    assert len(set(plans)) == len(plans) == N_TRIALS


@pytest.mark.parametrize("num_processes", [3])
def test_several_find_what_one_finds_and_do_nothing_twice(
    num_processes: int, alone: tuple[object, list[str]], tmp_path: Path
) -> None:
    expected, plans = alone
    processes = [worker(tmp_path, "0.02", num_processes) for _ in range(num_processes)]
    for process in processes:
        assert result_of(process) == expected
    assert sorted(evaluated(tmp_path)) == sorted(plans)


def test_what_one_had_that_was_silent_the_others_do(alone: tuple[object, list[str]], tmp_path: Path) -> None:
    expected, plans = alone
    silent = worker(tmp_path, "never", 2)
    assert silent.stdout is not None
    assert silent.stdout.readline().startswith("claimed")
    try:
        assert result_of(worker(tmp_path, "0", 2)) == expected
        assert sorted(evaluated(tmp_path)) == sorted(plans)
    finally:
        silent.send_signal(signal.SIGKILL)
        silent.communicate()
