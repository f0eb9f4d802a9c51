"""Two real processes that train together over gloo: what one would have done, and what becomes of one alone."""

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from pruner.checkpoint import CheckpointFile

SCRIPT = Path(__file__).with_name("one_of_many.py")


def start(folder: Path, stage: str, ranks: int, *words: str) -> "list[subprocess.Popen[str]]":
    """So many processes, as torchrun would start them."""
    folder.mkdir(exist_ok=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environments: Sequence[dict[str, str]] = [{}]
    if ranks > 1:
        shared = {"WORLD_SIZE": str(ranks), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        environments = [shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(ranks)]
    path = {"PYTHONPATH": f"{SCRIPT.parent.parent.parent}:{SCRIPT.parent.parent}", "OMP_NUM_THREADS": "1"}
    return [
        subprocess.Popen(
            [sys.executable, str(SCRIPT), stage, str(folder), *words],
            env=dict(PATH="/usr/bin:/bin", **path, **environment),
            stderr=subprocess.PIPE,
            text=True,
        )
        for environment in environments
    ]


def finish(processes: "list[subprocess.Popen[str]]") -> None:
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors


def seen(folder: Path, rank: int) -> dict[str, list[float]]:
    record: dict[str, list[float]] = json.loads((folder / f"{rank}.json").read_text())
    return record


@pytest.mark.parametrize("stage", ["supernet", "progressive"])
def test_two_processes_have_the_loss_curve_of_one(stage: str, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    finish(start(one, stage, 1) + start(two, stage, 2))
    expected = seen(one, 0)
    for rank in (0, 1):
        found = seen(two, rank)
        assert found["losses"] == pytest.approx(expected["losses"], abs=1e-5)
        assert found["steps"] == pytest.approx(expected["steps"], abs=2e-3)  # as they are printed
        assert found["accuracies"] == pytest.approx(expected["accuracies"], abs=0.021)  # of 50 images, one at a tie
        assert found["weights"] == pytest.approx(expected["weights"], rel=1e-6)
    assert len(expected["steps"]) == 16
    assert expected["losses"][0] != expected["losses"][2]


def test_when_one_is_killed_the_other_ends_with_a_message_and_both_go_on_from_there(tmp_path: Path) -> None:
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    processes = start(killed, "progressive", 2, "1", "7")
    processes[1].wait(120)
    began = time.monotonic()
    _, errors = processes[0].communicate(timeout=60)
    assert time.monotonic() - began < 60
    assert processes[0].returncode == 1
    assert "another process of this training is gone, so this one stops; the same command again goes on" in errors
    finish(start(killed, "progressive", 2) + start(undisturbed, "progressive", 2))
    assert len(seen(killed, 0)["steps"]) == 16 - 6  # the step that one was killed in was saved by nobody
    assert seen(killed, 0)["losses"] == pytest.approx(seen(undisturbed, 0)["losses"], abs=1e-6)


@pytest.mark.parametrize("stage", ["supernet", "progressive"])
def test_two_epochs_a_kill_and_two_epochs_are_four_epochs_bit_for_bit(stage: str, tmp_path: Path) -> None:
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    first, whole = start(killed, stage, 1, "0", "9") + start(undisturbed, stage, 1)
    assert first.wait(120) == -signal.SIGKILL
    finish([whole, *start(killed, stage, 1)])
    states = [CheckpointFile(folder / "state.safetensors", stage).load() for folder in (undisturbed, killed)]
    assert states[0] is not None
    assert states[1] is not None
    assert states[0].step == states[1].step == 16
    assert states[0].tensors.keys() == states[1].tensors.keys()
    assert all(torch.equal(tensor, states[1].tensors[name]) for name, tensor in states[0].tensors.items())
    assert len(seen(killed, 0)["steps"]) == 16 - 8  # two epochs of four steps were saved when it was killed
    assert seen(killed, 0)["losses"] == seen(undisturbed, 0)["losses"]
