"""Small networks cut by their plans and trained, from one of several starts: folded, fitted, or the uncut network."""

import copy
import json
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from torch import nn

from profiles.files import write_whole
from pruner.choices.plan import MergeInit, Plan
from pruner.fitting.in_sequence import fit_in_sequence
from pruner.models.checkpoint import CheckpointFile
from pruner.network.surgery import Cut, apply, describe
from pruner.progress import silent
from pruner.training.accuracy import accuracy
from pruner.training.blockwise import BlockTeaching
from pruner.training.loop import fit
from pruner.training.objective import Objective, Supervised, Teaching, light_copy
from pruner.training.pairs import learn_as_pairs
from pruner.training.progressive import Progressive, calibrate_norms, finalize
from pruner.training.schedules import Schedule, from_the_end
from pruner.training.settings import Optimizing, TrainSettings
from pruner.training.train_step import TrainStep
from shared.baselines import EPOCHS, FEW, LEARNING_RATE, baseline, images_of
from shared.small_networks import NETWORKS

# How a small network's plan is trained.
STARTS: Final = {
    "continued": "(c) the uncut network, trained on",
    "folded": "folded, gates closing within 0.3",
    "folded, block by block": "the same, each layer learning its block's output",
    "fitted": "fitted in sequence",
    "fitted, gates": "the same, gates closing within 0.3",
    "fitted, block by block": "fitted in sequence, each layer learning its block's output",
    "fitted, pairs": "fitted in sequence, convolutions learning as pairs",
}


@dataclass(frozen=True)
class Job:
    """The plans of one network, one share of its blocks and one seed."""

    network: str
    what: str
    seed: int

    @property
    def file(self) -> str:
        return f"fitting-{self.network}-{self.what.replace(', ', '-').replace(' ', '-')}-{self.seed}.json"


def trained(job: Job, output: Path) -> str:
    """Test accuracy after the training of `progressive.py`, and before it."""
    file = output / job.file
    if not file.exists():
        began = time.process_time()
        whole = baseline(job.network, output)
        before, after = trained_from(job, whole)
        record = asdict(job) | {"before": before, "after": after, "core_seconds": time.process_time() - began}
        write_whole(file, json.dumps(record) + "\n")
    record = json.loads(file.read_text())
    return f"{job.network}, {job.what}, seed {job.seed}: {record['before']:.2%} {record['after']:.2%}"


def trained_from(job: Job, whole: nn.Module) -> tuple[float, float]:
    settings = TrainSettings(EPOCHS, seed=job.seed, optimizing=Optimizing(lr=LEARNING_RATE))
    chain = describe(whole)
    plan = Plan(chain.model) if job.what == "continued" else NETWORKS[job.network].plan(chain)
    start: MergeInit = "fitted" if job.what.startswith("fitted") else "folded"
    cut = apply(whole, plan, merge_init=start)
    if job.what != "continued":
        calibrate_norms(cut, plan, FEW, settings)
    if start == "fitted":
        fit_in_sequence(cut, images_of(FEW))
    if job.what == "fitted, pairs":
        learn_as_pairs(cut)
    before = closed_accuracy(cut, settings)
    teacher = light_copy(whole)
    teaching = BlockTeaching(cut, teacher) if job.what.endswith("block by block") else Teaching(teacher)
    objective: Objective
    if job.what == "continued":
        objective = Supervised(cut)
    else:
        gates = GatesOfAll if job.what.endswith("gates") else Progressive
        objective = gates(cut, teaching, Schedule(from_the_end(chain, plan), "linear", 0.3))
    with tempfile.TemporaryDirectory() as folder:
        fit(objective, FEW, settings, CheckpointFile(Path(folder) / "state.safetensors", "study"), silent)
    return before, closed_accuracy(cut, settings)


class GatesOfAll(Progressive):
    """Closes the gates of fitted layers slowly, too."""

    def _lams(self, train_step: TrainStep) -> dict[str, float]:
        return self.schedule.lams(train_step.share)


def closed_accuracy(cut: Cut, settings: TrainSettings) -> float:
    """On the test scenes, of a copy that is closed."""
    closed = copy.deepcopy(cut)
    finalize(closed, FEW, settings)
    return accuracy(closed, FEW.test_batches(batch_size=250))
