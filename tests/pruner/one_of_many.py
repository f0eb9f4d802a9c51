"""One of the processes that train together in the tests; torchrun's variables say which.

    python one_of_many.py STAGE FOLDER [RANK STEP]

Writes what it saw to FOLDER/RANK.json. With RANK and STEP, the process of that rank kills itself at that step.
"""

import json
import os
import signal
import sys
from pathlib import Path

import torch

from networks import SHAPES
from pruner.checkpoint import CheckpointFile
from pruner.data.digits import DigitScenes
from pruner.models import load_model
from pruner.plan import Plan
from pruner.surgery import apply, supernet
from pruner.training.loop import fit
from pruner.training.objective import Objective, Teaching, light_copy
from pruner.training.progressive import Progressive, begin
from pruner.training.settings import Optimizing, TrainSettings
from pruner.training.supernet import SupernetObjective
from pruner.training.world import joined

DATA = DigitScenes(train_images=64, calibration_images=50, test_images=50)
SETTINGS = TrainSettings(epochs=4, batch_size=16, seed=4, optimizing=Optimizing(lr=2e-3), sync_bn=True)
_RESNET = {"img_size": 32, "layers": (2, 1, 1, 1), "channels": (8, 8, 12, 8), "num_classes": 10}


def objective(stage: str) -> Objective:
    """A supernet of transformers, whose steps use other weights each; or a ResNet full of BatchNorms, being cut."""
    torch.manual_seed(0)
    if stage == "supernet":
        entry, kwargs = SHAPES["digits"]
        return SupernetObjective(supernet(load_model(entry, **kwargs)))
    baseline = load_model("resnet18", **_RESNET)
    cut = apply(baseline, Plan("resnet18", {"layer1.0": "merge", "layer1.1": "shrink"}))
    begin(cut, cut.plan, DATA, SETTINGS)
    return Progressive(cut, Teaching(light_copy(baseline)))


def main(stage: str, folder: Path, dies: tuple[int, int] | None) -> None:
    torch.set_num_threads(1)
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


if __name__ == "__main__":
    words = sys.argv[3:]
    main(sys.argv[1], Path(sys.argv[2]), (int(words[0]), int(words[1])) if words else None)
