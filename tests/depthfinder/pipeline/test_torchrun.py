"""A whole run by torchrun, in two processes: what it leaves, and what becomes of it when one is killed."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

WORDS = shlex.split(
    "run --model deit_tiny_patch16_224 --img-size 32 --dataset digits --device null --budget-ratio 0.7 "
    "--train-device cpu "
    "--model-kwargs patch_size=8 --model-kwargs embed_dim=24 --model-kwargs depth=2 --model-kwargs num_heads=2 "
    "--model-kwargs num_classes=10 --n-trials 6 --finetune-epochs 1 --supernet-epochs 1 "
    "--fit-images 40 --progressive-epochs 1 "
    "--max-seconds 5 --experiment here --checkpoint-minutes 0.001"
)
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--max-restarts=1"]
TORCHRUN += ["-m", "depthfinder"]


def start(folder: Path) -> "subprocess.Popen[str]":
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [*TORCHRUN, *WORDS], cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def wait_for(process: "subprocess.Popen[str]", log: Path, line: str) -> None:
    deadline = time.monotonic() + 120
    while not (log.exists() and line in log.read_text()):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline, f"no {line!r} in {log}"
        time.sleep(0.02)


def second_of(process: "subprocess.Popen[str]") -> int:
    """The process id of rank 1 among the children of torchrun."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    ranks = {child: dict(entry.partition("=")[::2] for entry in environment(child)) for child in children}
    return next(int(child) for child, variables in ranks.items() if variables.get("RANK") == "1")


def environment(child: str) -> list[str]:
    return Path(f"/proc/{child}/environ").read_text().split("\0")


@pytest.mark.grid  # what tests/pruner/training/test_many_processes.py holds, as it is typed
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds the processes of torchrun under /proc")
def test_torchrun_takes_a_run_up_again_when_one_of_its_processes_dies(tmp_path: Path) -> None:
    folder = tmp_path / "depthfinder-out" / "here"
    process = start(tmp_path)
    wait_for(process, folder / "log.txt", "supernet ...")
    os.kill(second_of(process), signal.SIGKILL)
    output, errors = process.communicate(timeout=280)
    assert process.returncode == 0, errors
    assert "finetune: done before" in errors
    assert output.count("accuracy, held-out images") == 1
    # Once before the network's own training and once after it, whichever attempt and however many processes.
    assert errors.count("held-out images are right") == 2
    result = json.loads((folder / "result.json").read_text())
    assert result["verdict"]["answer"] == "met"
    assert set(json.loads((folder / "state.json").read_text())) >= {"finetune", "supernet", "train", "report"}
    for name in ("finetune", "supernet", "progressive"):
        assert len((folder / f"{name}.csv").read_text().splitlines()) == 2
    assert (folder / "log.txt").read_text().count("supernet epoch   1/1") == 1
