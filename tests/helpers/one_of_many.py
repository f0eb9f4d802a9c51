"""One of the processes that train together in the tests, as torchrun's variables tell it which it is.

Each is a copy of one process that has imported all it takes.
"""

import json
import multiprocessing
import os
import signal
import socket
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import torch

from networks import SHAPES
from pruner.choices.plan import Plan
from pruner.data.digits import DigitScenes
from pruner.models.checkpoint import CheckpointFile
from pruner.models.load import load_model
from pruner.network.surgery import apply, supernet
from pruner.training.loop import fit
from pruner.training.objective import Objective, Teaching, light_copy
from pruner.training.progressive import Progressive, calibrate_norms
from pruner.training.settings import Optimizing, Processes, TrainSettings
from pruner.training.supernet import SupernetObjective
from pruner.training.world import joined

_CONTEXT = multiprocessing.get_context("forkserver")
_SLOW_IMPORTS = ["pruner.training.loop", "timm", "sklearn.datasets"]

DATA = DigitScenes(train_images=64, calibration_images=50, test_images=50)
SETTINGS = TrainSettings(
    epochs=4, batch_size=16, seed=4, optimizing=Optimizing(lr=2e-3), processes=Processes(sync_bn=True)
)
_RESNET = {"img_size": 32, "layers": (2, 1, 1, 1), "channels": (8, 8, 12, 8), "num_classes": 10}


def objective(stage: str) -> Objective:
    """A supernet of transformers, whose steps use other weights each; or a ResNet full of BatchNorms, being cut."""
    torch.manual_seed(0)
    if stage == "supernet":
        entry, kwargs = SHAPES["digits"]
        return SupernetObjective(supernet(load_model(entry, **kwargs)))
    baseline = load_model("resnet18", **_RESNET)
    cut = apply(baseline, Plan("resnet18", {"layer1.0": "merge", "layer1.1": "shrink"}))
    calibrate_norms(cut, cut.plan, DATA, SETTINGS)
    return Progressive(cut, Teaching(light_copy(baseline)))


class Together:
    """So many processes that train `stage` in `folder`, as torchrun would start them. With `dies`, a rank and a step,
    the process of that rank kills itself at that step."""

    def __init__(self, folder: Path, stage: str, ranks: int, dies: tuple[int, int] | None = None) -> None:
        folder.mkdir(exist_ok=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        shared = {"WORLD_SIZE": str(ranks), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        _CONTEXT.set_forkserver_preload(_SLOW_IMPORTS)
        self._folder = folder
        self.processes: list[ForkServerProcess] = []
        for rank in range(ranks):
            variables = shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)}
            self.processes.append(_CONTEXT.Process(target=_train, args=(folder, stage, variables, dies)))
            self.processes[-1].start()

    def status(self, rank: int, timeout_s: float) -> int | None:
        """The exit status of one, that of a signal below zero; None when it has not ended by then."""
        self.processes[rank].join(timeout_s)
        return self.processes[rank].exitcode

    def errors(self, rank: int) -> str:
        return (self._folder / f"{rank}.txt").read_text()

    def finish(self) -> None:
        for rank in range(len(self.processes)):
            assert self.status(rank, 120) == 0, self.errors(rank)

    def seen(self, rank: int) -> dict[str, list[float]]:
        """What a process saw: the loss of every step as it was printed, losses and accuracies of all epochs."""
        record: dict[str, list[float]] = json.loads((self._folder / f"{rank}.json").read_text())
        return record


def _train(folder: Path, stage: str, variables: dict[str, str], dies: tuple[int, int] | None) -> None:
    os.environ.update(variables)
    torch.set_num_threads(1)
    with (folder / f"{variables['RANK']}.txt").open("w") as file:
        os.dup2(file.fileno(), 2)
    losses = []
    with joined("cpu") as world:

        def progress(done: int, total: int, note: str) -> None:
            losses.append(float(note.partition("loss ")[2].partition(",")[0]))
            if dies == (world.rank, done):
                os.kill(os.getpid(), signal.SIGKILL)

        trained = objective(stage)
        checkpoints = CheckpointFile(folder / "state.safetensors", stage)
        epochs = fit(trained, DATA, SETTINGS, checkpoints, progress, world=world, seconds_between_saves=0)
    record = {
        "steps": losses,
        "losses": [epoch.loss for epoch in epochs],
        "accuracies": [epoch.accuracy for epoch in epochs],
        "weights": float(sum(parameter.detach().double().abs().sum() for parameter in trained.network.parameters())),
    }
    (folder / f"{world.rank}.json").write_text(json.dumps(record))
